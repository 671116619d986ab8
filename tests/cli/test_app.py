"""How the command line answers, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import typer

import convscope
from convscope.cli import app as cli
from convscope.cli.app import PANELS, VERBS, main
from convscope.errors import BadOption, NonFinite


@pytest.fixture
def verb_that_raises(monkeypatch: pytest.MonkeyPatch):
    """`convscope boom` raises what it is given."""
    app = typer.Typer(pretty_exceptions_enable=False)
    monkeypatch.setattr(cli, "whole_app", lambda **_: app)

    def use(error: BaseException) -> None:
        @app.callback()
        def _nothing() -> None: ...

        @app.command()
        def boom() -> None:
            raise error

    return use


def test_no_arguments_show_the_help(capsys):
    assert main([]) == 0
    assert "occlude" in capsys.readouterr().out


def test_help_names_every_verb_once_by_what_it_is_for(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split()[1] for line in lines if line.startswith("│ ") and line[2].isalpha()]
    assert shown == [name for names in PANELS.values() for name in names]
    assert sorted(shown) == sorted(VERBS)


def test_the_version_is_the_package_s(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"convscope {convscope.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_of_itself(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"convscope {verb}" in text.split("Example", 1)[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_the_options_on_how_to_run(verb, capsys):
    main([verb, "--help"])
    text = capsys.readouterr().out
    looks = ("--device", "--batch-size", "--workers", "--seed", "--json")
    for option in ("--json",) if verb == "verify" else looks:  # which runs no network
        assert option in text


def test_bad_input_exits_with_2_and_one_line_on_stderr(verb_that_raises, capsys):
    verb_that_raises(BadOption("nothing\nfits: do otherwise"))
    assert main(["boom"]) == 2
    assert capsys.readouterr() == ("", "convscope: nothing fits: do otherwise\n")


def test_a_failure_that_is_not_the_user_s_exits_with_1(verb_that_raises, capsys):
    verb_that_raises(NonFinite("layer conv1 makes NaN"))
    assert main(["boom"]) == 1
    assert capsys.readouterr().err == "convscope: layer conv1 makes NaN\n"


def test_a_full_disk_exits_with_1_and_names_the_file(verb_that_raises, capsys):
    verb_that_raises(OSError(28, "No space left on device", "atlas/tables"))
    assert main(["boom"]) == 1
    line = capsys.readouterr().err
    assert "no space left on device" in line and "atlas/tables" in line and line.count("\n") == 1


def test_an_interrupt_exits_with_130(verb_that_raises, capsys):
    verb_that_raises(KeyboardInterrupt())
    assert main(["boom"]) == 130
    assert capsys.readouterr().err == "convscope: interrupted\n"


def test_an_error_of_ours_in_the_code_is_not_hidden(verb_that_raises):
    verb_that_raises(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["boom"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (
            ["layer"],
            "no such command 'layer': did you mean layers or paper? (see convscope --help)",
        ),
        (["layers", "zfnet", "--jsom"], "no such option --jsom: did you mean --json? (see"),
        (["layers"], "MODEL"),
        (["layers", "zfnet", "alexnet"], "alexnet"),
        (["layers", "zfnet", "--device", "tpu"], "'auto', 'cpu', 'cuda'"),
        (["layers", "zfnet", "--seed", "-1"], "--seed"),
        (["layers", "zfnet", "--batch-size", "0"], "--batch-size"),
        (["project", "zfnet", "dog.jpg", "conv1/0"], "--out"),
        (["atlas", "zfnet", "photos", "--out", "a", "--top", "0"], "--top"),
        (["occlude", "zfnet", "dog.jpg", "--out", "a.png", "--stride", "0"], "--stride"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_line_that_names_it(arguments, named, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("convscope: ") and named in err and "--help" in err


def test_a_complaint_is_one_write_so_that_those_of_several_processes_do_not_mix(monkeypatch):
    written = []
    monkeypatch.setattr(sys.stderr, "write", written.append)
    assert main(["occlude", "--no-such-option"]) == 2
    assert len(written) == 1 and written[0].endswith("\n")


HEAVY = {"torch", "numpy", "scipy", "PIL", "PIL.Image", "matplotlib", "pydantic.main", "jinja2"}
"""What takes tenths of a second and more to import, and help has no use for."""


def test_help_is_shown_without_importing_what_is_heavy():
    """Of the program and of every verb, in one process: what they import stays imported."""
    verbs = [["--help"], *([verb, "--help"] for verb in VERBS)]
    code = (
        "import contextlib, io, sys\n"
        "from convscope.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        f"    codes = [main(words) for words in {verbs}]\n"
        "print(codes, 'Usage' in out.getvalue(), *sys.modules, sep='\\n')\n"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes, shown, *imported = seen.stdout.splitlines()
    assert set(json.loads(codes)) == {0} and shown == "True"
    assert {"convscope.cli.app", "rich.markdown"} <= set(imported)
    assert not HEAVY & set(imported)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("convscope occ", "occlude"),
        ("convscope occlude --fi", "--fit"),
        ("convscope occlude --fit s", "stretch"),
        ("convscope remove", "remove-units"),
    ],
)
def test_a_shell_is_told_how_a_line_may_go_on(line, found, monkeypatch, capsys):
    words = line.split(" ")
    monkeypatch.setenv("_CONVSCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert found in capsys.readouterr().out.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_shell_that_runs(shell, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    with pytest.raises(SystemExit, match="0"):
        main(["--install-completion"])
    assert f"{shell} completion installed" in capsys.readouterr().out
    written = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert f"_CONVSCOPE_COMPLETE=complete_{shell}" in written


def test_a_reader_that_stops_early_is_no_error():
    """`convscope --help | head -1`"""
    command = [sys.executable, "-m", "convscope", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        time.sleep(0)
        assert process.stderr.read() == b""
