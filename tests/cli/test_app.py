"""How the command line answers, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import typer

import convscope
from convscope.cli import app as cli
from convscope.cli.app import VERBS, main
from convscope.errors import BadOption, NonFinite


@pytest.fixture
def verb_that_raises(monkeypatch: pytest.MonkeyPatch):
    """`convscope boom` raises what it is given."""
    app = typer.Typer(pretty_exceptions_enable=False)
    monkeypatch.setattr(cli, "app", app)

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
    for option in ("--device", "--batch-size", "--workers", "--seed", "--json"):
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
    assert "No space left" in line and "atlas/tables" in line and line.count("\n") == 1


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
        (["layer"], "'layers'"),
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


def test_help_is_shown_without_importing_torch():
    seen = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "convscope", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in seen.stderr.splitlines()}
    heavy = {"torch", "numpy", "scipy", "PIL", "PIL.Image", "matplotlib", "pydantic.main", "jinja2"}
    assert "convscope.cli.app" in imported
    assert not heavy & imported


def test_help_answers_in_under_0_4_seconds():
    """Of the processor's time, which other work on the machine does not lengthen."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "convscope", "--help"], capture_output=True, check=True
        )
        after = os.times()
        times.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(times) < 0.4


def test_a_reader_that_stops_early_is_no_error():
    """`convscope --help | head -1`"""
    command = [sys.executable, "-m", "convscope", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        time.sleep(0)
        assert process.stderr.read() == b""
