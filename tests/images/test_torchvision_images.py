"""torchvision's data sets, and the import that survives a torchvision built for another torch."""

from __future__ import annotations

import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import warm
from convscope.errors import BadData, BadImage, BadModel
from convscope.images.datasets import TorchvisionImages, open_images
from convscope.images.torchvision_import import import_torchvision


@pytest.fixture(autouse=True)
def imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiled part may be missing here
        import_torchvision()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["b/10.png", "b/9.png", "a/x/1.png", "a/0.png", "a-b/0.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / name)
    return tmp_path


def test_a_set_of_torchvisions_opens_with_labels_and_pictures() -> None:
    images = open_images("torchvision:FakeData")
    assert isinstance(images, TorchvisionImages)
    assert len(images) == 1000
    assert images.name(7) == "FakeData/000007"
    assert images.picture(7).size == (224, 224)
    label = images.label(7)
    assert isinstance(label, int)
    assert 0 <= label < 10


def test_digests_are_of_the_pixels() -> None:
    first, again = open_images("torchvision:FakeData"), open_images("torchvision:FakeData")
    assert first.digest(3) == again.digest(3) == again.load(3).digest
    assert first.digest(3) != first.digest(4)


def test_our_own_folders_have_image_folders_classes_and_labels(folder: Path) -> None:
    theirs, ours = open_images(f"torchvision:ImageFolder@{folder}"), open_images(folder)
    assert theirs.classes == ours.classes == ("a", "a-b", "b")
    pairs = []
    for images in (theirs, ours):
        pixels = [np.asarray(images.picture(i))[0, 0, 0] for i in range(5)]
        pairs.append(sorted((int(p), images.label(i)) for i, p in enumerate(pixels)))
    assert pairs[0] == pairs[1]


def test_an_unreadable_item_is_named(folder: Path) -> None:
    (folder / "b" / "9.png").write_bytes(b"no image")
    images = open_images(f"torchvision:ImageFolder@{folder}")
    with pytest.raises(BadImage, match=r"^ImageFolder/000004: cannot be read: cannot identify"):
        images.picture(4)


def test_an_unknown_set_is_refused_with_those_near_it() -> None:
    with pytest.raises(BadData, match=r"no data set 'CIFAR11'; near it: CIFAR10"):
        open_images("torchvision:CIFAR11@data")


def test_a_set_that_is_not_there_is_refused_and_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"CIFAR10.*not found.*download=True\) does") as caught:
        open_images(f"torchvision:CIFAR10:test@{tmp_path}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_a_set_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="CIFAR10 has no split 'dev': it has train and test"):
        open_images(f"torchvision:CIFAR10:dev@{tmp_path}")
    with pytest.raises(BadData, match="FakeData has no splits: leave out 'test'"):
        open_images("torchvision:FakeData:test")


# the import


def test_a_missing_torchvision_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(BadModel, match=r"pip install 'convscope\[zoo\]'"):
        import_torchvision.__wrapped__()


PACKAGE = """
    import torch
    from torchvision import half
    if not hasattr(torch.ops.torchvision, "nms"):
        raise RuntimeError("operator torchvision::nms does not exist")
    schema = str(torch.ops.torchvision.qnms.default._schema)
    models = datasets = None
"""
SCRIPT = """
    import sys, warnings
    from convscope.images.torchvision_import import import_torchvision
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = import_torchvision()
        assert import_torchvision() is first is sys.modules["torchvision"]
        assert sys.modules["torchvision.half"] is first.half
    assert not [w for w in caught if "torchvision" in str(w.message)]
    print(first.schema)
"""


def run(script: str, path: Path) -> str:
    """What a Python of its own prints, with the packages in `path` before all others."""
    done = warm.run("-c", textwrap.dedent(script), env={"PYTHONPATH": str(path)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_missing_operators_are_declared_and_the_import_tried_again(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(textwrap.dedent(PACKAGE))
    (package / "half.py").touch()
    [schema] = run(SCRIPT, tmp_path).splitlines()
    assert schema.startswith("torchvision::qnms(Tensor dets, Tensor scores, float iou_threshold)")


def test_another_failure_is_told_in_one_line(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('needs\\na newer moon')")
    script = """
        from convscope.errors import BadModel
        from convscope.images.torchvision_import import import_torchvision
        try:
            import_torchvision()
        except BadModel as error:
            print(error)
    """
    assert run(script, tmp_path).startswith(
        "torchvision cannot be imported (RuntimeError: needs a newer moon): install the one"
    )
