"""Features as files for others: the numbers of a hook, in every form."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import convscope
from convscope.cli import main
from convscope.distributed import Ranks
from convscope.errors import BadData, BadOption, FolderInUse, NoSuchLayer
from convscope.experiments.features import feature_set
from convscope.experiments.features.feature_set import read_features
from convscope.experiments.features.files import write_features
from convscope.experiments.features.image_map import image_map
from convscope.progress import Progress
from convscope.scan import engine
from convscope.scan.engine import Scan
from convscope.scan.features import FeatureSettings
from experiments.painted import Painted, opened, xor_images, xor_model
from work_together import all_find_the_same

ENDINGS = ("npz", "safetensors", "parquet")


def several(count: int = 6) -> Painted:
    """Images that show several classes each."""
    truth = [(i % 2, 1 - i % 2, -1) for i in range(count)]
    return Painted([(i, 2 * i, 3 * i) for i in range(count)], truth, classes=("a", "b", "c"))


def read(path: Path, layer: str) -> tuple[np.ndarray, list[str], list[int], dict[str, Any]]:
    """(features, names, labels, about) of a file, by the libraries that others would use."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            return file[layer], file["names"].tolist(), file["labels"].tolist(), about
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            names = json.loads(bytes(file.get_tensor("names")))
            about = json.loads(file.metadata()["about"])
            return file.get_tensor(layer), names, file.get_tensor("labels").tolist(), about
    table = pytest.importorskip("pyarrow.parquet").read_table(path)
    rows = np.array(table[layer].to_pylist(), np.float32)
    about = json.loads(table.schema.metadata[b"about"])
    return rows, table["name"].to_pylist(), table["label"].to_pylist(), about


def hooked(net: nn.Sequential, layer: str, images: Painted) -> torch.Tensor:
    """What a forward hook sees of every image that can be read, (N, C, H, W)."""
    model, seen = xor_model(), []
    hook = net.get_submodule(layer).register_forward_hook(lambda _, __, out: seen.append(out))
    pictures = [i for i in range(len(images)) if i not in images._broken]
    with torch.no_grad():
        net(torch.stack([model.preprocess.tensor(images.picture(i)) for i in pictures]))
    hook.remove()
    return torch.cat(seen)


@pytest.mark.parametrize("pooling", ["flatten", "mean", "max"])
def test_features_are_those_that_a_forward_hook_sees(pooling: str) -> None:
    model, images = xor_model(), xor_images(9, broken=(4,))
    found = convscope.features(model, images, ["2", "3"], pooling=pooling, device="cpu")
    how = {
        "flatten": lambda maps: maps.flatten(1),
        "mean": lambda maps: maps.mean((2, 3)),
        "max": lambda maps: maps.amax((2, 3)),
    }[pooling]
    for layer in ("2", "3"):
        expected = how(hooked(model.module, layer, images)).numpy()
        np.testing.assert_allclose(found[layer], expected, atol=1e-5)
    assert found.names == [f"{i:04d}" for i in range(9) if i != 4]
    assert found.labels.tolist() == [images.label(i) for i in range(9) if i != 4]
    assert [skip.name for skip in found.skipped] == ["0004"] and len(found) == 8


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_holds_features_names_and_labels_in_pieces_as_in_one(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    model, images = xor_model(), xor_images(20, broken=(3,))
    out = tmp_path / "new" / f"f.{ending}"
    found = convscope.features(
        model, images, ["1", "3"], pooling="mean", out=out, batch_size=4, device="cpu"
    )
    for layer in ("1", "3"):
        values, names, labels, about = read(out, layer)
        np.testing.assert_array_equal(values, found[layer])
        assert names == found.names and labels == found.labels.tolist()
        assert about["images"] == 19 and about["skipped"][0]["name"] == "0003"
        assert about["layers"][0] == {
            "layer": "1", "shape": [3, 8, 8], "pooling": "mean", "features": 3, "dtype": "float32",
        }  # fmt: skip
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name]  # nothing beside it
    whole = out.read_bytes()
    monkeypatch.setattr(feature_set, "PIECE", 25)  # two rows
    convscope.features(
        model, images, ["1", "3"], pooling="mean", out=out, batch_size=4, device="cpu"
    )
    assert out.read_bytes() == whole


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_images_of_several_classes_have_targets(ending: str, tmp_path: Path) -> None:
    out, images = tmp_path / f"f.{ending}", several()
    found = convscope.features(xor_model(), images, ["3"], half=True, out=out, device="cpu")
    if ending == "npz":
        file = np.load(out)
        targets, values = file["targets"], file["3"]
    else:
        with safe_open(out, "np") as file:
            targets, values = file.get_tensor("targets"), file.get_tensor("3")
    assert targets.tolist() == [list(images.targets(i)) for i in range(6)]
    assert values.dtype == np.float16
    np.testing.assert_array_equal(values.astype(np.float32), found["3"])


def test_an_interrupted_run_goes_on_with_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
    out, images = tmp_path / "f.npz", xor_images(12, broken=(1,))
    ask = {"layers": ["3"], "batch_size": 4, "device": "cpu"}
    model = xor_model()
    convscope.features(model, images, out=tmp_path / "whole.npz", **ask)

    def stop(what: str, done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convscope.features(model, images, out=out, progress=stop, **ask)
    assert not out.exists() and (tmp_path / "f.npz.work").is_dir()
    with pytest.raises(FolderInUse, match=r"f\.npz\.work holds the rows .* --resume"):
        convscope.features(model, images, out=out, **ask)
    before = images.read
    convscope.features(model, images, out=out, resume=True, **ask)
    assert images.read == before + 4
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "whole.npz"]


def shared(folder: Path, ranks: Ranks, progress: Progress) -> list[str]:
    """Reads and writes features as one of several processes."""
    folder.mkdir(exist_ok=True)
    model, images = xor_model(), xor_images(30, broken=(5,))
    scan = Scan(
        opened(model), images, model.preprocess, batch_size=4, ranks=ranks, progress=progress
    )
    found = read_features(model, scan, ["1", "3"], FeatureSettings("mean"), cache=folder / "rows")
    ranks.from_first(lambda: write_features(folder / "f.npz", found, {}))
    return found.names


@pytest.mark.long
@pytest.mark.slow
def test_one_two_and_four_processes_write_the_same_bytes(tmp_path: Path) -> None:
    names = all_find_the_same("experiments.test_feature_files:shared", tmp_path, "1@3")
    assert len(names) == 29


def test_the_verb_writes_a_file_and_a_map_and_tells_a_program(tmp_path: Path, capsys) -> None:
    line = f"features zfnet-small scenes:val:12 --out {tmp_path}/f.npz --map {tmp_path}/m.png"
    pytest.importorskip("sklearn")
    assert main([*line.split(), "--json", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    (layer,) = told["layers"]
    assert told["images"] == 12 and layer["layer"] == "relu7" and told["map"].endswith("m.png")
    with np.load(tmp_path / "f.npz") as file:
        assert (
            file["relu7"].shape == (12, layer["features"]) and file["names"][0] == "val/dog/000000"
        )
    assert (tmp_path / "m.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "f.csv"}, "ends with .npz or .safetensors or .parquet"),
        ({"out": "f.parquet"}, r"needs the package pyarrow: pip install 'convscope\[parquet\]'"),
        ({"map": "m.png"}, r"needs the package scikit-learn: pip install 'convscope\[map\]'"),
        ({"pooling": "median"}, "pooling 'median'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_image_is_read(
    options: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for missing in ("pyarrow", "sklearn"):
        monkeypatch.setitem(sys.modules, missing, None)
    images = xor_images(4)
    with pytest.raises(BadOption, match=said):
        convscope.features(xor_model(), images, ["3"], device="cpu", **options)
    assert images.read == 0 and not list(tmp_path.iterdir())


def test_layers_are_those_there_are_and_not_called_as_other_columns() -> None:
    with pytest.raises(NoSuchLayer):
        convscope.features(xor_model(), xor_images(4), ["conv9"])
    net = nn.Sequential()
    net.add_module("names", nn.Conv2d(3, 2, 1))
    net.add_module("fc", nn.Conv2d(2, 2, 8))
    model = convscope.open_model(net, input=(3, 8, 8), preprocess="unit")
    with pytest.raises(BadOption, match="'names' is called what a file"):
        convscope.features(model, xor_images(4), ["names"])


def test_a_map_keeps_groups_apart() -> None:
    pytest.importorskip("sklearn")
    images = xor_images(60)
    found = convscope.features(xor_model(), images, ["1"], pooling="mean", device="cpu")
    placed, again = image_map(found, seed=1), image_map(found, seed=1)
    np.testing.assert_array_equal(placed.places, again.places)
    bright = np.array([images._colours[i][0] > 125 for i in placed.indices])
    greens = np.array([images._colours[i][1] > 125 for i in placed.indices])
    groups = 2 * bright + greens  # whose colours differ most
    apart = np.linalg.norm(placed.places[:, None] - placed.places, axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (groups[apart.argmin(1)] == groups).mean() > 0.9
    with pytest.raises(BadData, match="a map needs 8"):
        image_map(convscope.features(xor_model(), xor_images(5), ["1"], device="cpu"))
