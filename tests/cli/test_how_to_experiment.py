"""The how-to of an experiment does what it says: one file, one line, and there is a verb."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from PIL import Image

import convscope
import warm
from convscope.images.datasets import open_images
from convscope.models.zoo import open_model
from convscope.network.network import open_network
from forks import convscope_together

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "experiment.md").read_text(encoding="utf-8")
FILE, CALL = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
ADDED = [line[1:] for line in re.findall(r"^\+.*", TEXT, flags=re.MULTILINE)]
DATA = "scenes:val:12"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the how-to's file and its registry line."""
    folder = tmp_path_factory.mktemp("house")
    package = folder / "convscope"
    shutil.copytree(Path(convscope.__file__).parent, package)
    (package / "experiments" / "sparsity.py").write_text(FILE)
    registry = package / "experiments" / "registry.py"
    line, opening, entry = ADDED
    text = registry.read_text().replace(
        "from convscope.experiments.study", f"{line}\nfrom convscope.experiments.study", 1
    )
    start = opening.rstrip("(")
    assert start in text
    registry.write_text(text.replace(f"{start}(", f"{start}({entry.strip()} ", 1))
    return folder


def run(house: Path, *words: str) -> CompletedProcess[str]:
    return warm.run("-m", "convscope", *words, cwd=house, env=of(house))


def of(house: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(house), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_one_file_and_one_line_add_a_verb_with_all_that_verbs_have(house: Path):
    shown = run(house, "sparsity", "--help")
    assert shown.returncode == 0
    assert "Say how many of each layer" in shown.stdout and "--threshold" in shown.stdout
    assert "--resume" in shown.stdout and "--json" in shown.stdout

    asked = ("sparsity", "zfnet-small", DATA, "--layers", "conv1,conv3")
    done = run(house, *asked, "--out", "one", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    model = open_model("zfnet-small")
    images = open_images(DATA, size=model.input_shape[-1])
    network = open_network(model.module, model.input_shape)
    batch = torch.stack([model.preprocess.tensor(images.picture(i)) for i in range(12)])
    for name, layer in (("conv1", "relu1"), ("conv3", "relu3")):
        wanted = float((network.values(batch, [layer])[layer] == 0).double().mean())
        assert result["share_of_zeros"][name] == pytest.approx(wanted, abs=1e-6)
    assert result["images"] == 12 and result["model"] == "zfnet-small"
    with Image.open(house / "one" / "chart.png") as chart:
        assert chart.width > 600 and json.loads(chart.text["about"])["images"] == DATA
    assert json.loads((house / "one" / "result.json").read_text())["share_of_zeros"]

    refused = run(house, "sparsity", "zfnet-small", DATA, "--out", "one", "--resume")
    assert refused.returncode == 2 and "layers is" in refused.stderr
    both = convscope_together(2, *asked, "--out", "two", cwd=house, env=of(house))
    assert [each.returncode for each in both] == [0, 0], both
    for file in ("result.json", "study.json"):
        assert (house / "two" / file).read_bytes() == (house / "one" / file).read_bytes()


@pytest.mark.slow
@pytest.mark.long
def test_the_study_is_a_function_too(house: Path):
    code = CALL.replace("run:runs/demo/zfnet", "zfnet-small").replace("scenes:val", DATA)
    said = warm.run("-c", code, cwd=house, env=of(house))
    assert said.returncode == 0, said.stderr
    assert 0 <= float(said.stdout) <= 1
