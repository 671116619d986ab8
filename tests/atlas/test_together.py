"""An atlas by several processes: the same bytes, however many, and whichever of them is killed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

import scan_together
import warm
from convscope.atlas import render as depict
from convscope.atlas.build import Search, build_atlas, write_atlas
from convscope.distributed import Ranks
from convscope.errors import BadData, BadModel
from convscope.execution import Execution
from convscope.images.batches import Batch
from convscope.images.datasets import open_images
from convscope.network.network import open_network
from convscope.scan.engine import forward_batch
from convscope.scan.strongest import Strongest
from convscope.scan.topk import TopK
from folders import content

CONFTEST = Path(__file__).with_name("conftest.py")


@dataclass(frozen=True)
class Said:
    """What became of the processes of one word, and what they said."""

    codes: list[int]
    said: list[str]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, pictures) -> Path:
    """The 22 pictures with four that cannot be read, and three in grey, among them."""
    folder = tmp_path_factory.mktemp("mixed") / "pictures"
    shutil.copytree(pictures, folder)
    for name in ("cat/001b", "cat/009b", "cat/009c", "dog/020b"):
        (folder / f"{name}.png").write_bytes(b"no picture")
    for name in ("cat/003", "dog/004", "dog/010"):
        with Image.open(folder / f"{name}.png") as picture:
            grey = picture.convert("L")
        grey.save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny, mixed):
    """The files of the atlas by one process, without interruption."""
    out = tmp_path_factory.mktemp("whole") / "atlas"
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depict, "TILE_BYTES", 1)
        patch.setattr(depict, "TRACE_BYTES", 2**17)
        torch.set_num_threads(1)
        made = build_atlas(tiny.model(), open_images(mixed), out, batch_size=4)
        torch.set_num_threads(threads)
    assert len(made.manifest.skipped) == 4 and sum(made.manifest.converted.values()) == 3
    return content(out)


def together(pictures: Path, folder: Path, *words: str) -> list[Said]:
    """See scan_together.py."""
    done = warm.run(scan_together.__file__, CONFTEST, pictures, folder, *words)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [Said(**json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_two_and_four_processes_write_the_bytes_of_one_also_when_some_are_killed(
    mixed, tmp_path: Path, whole
):
    two, four, *killed, last, again = together(
        mixed, tmp_path, "two=2", "four=4",
        "killed=2:1@2", "killed=4:3@1", "killed=3:0@1", "killed=2:1@4", "killed=4", "killed=2",
    )  # fmt: skip
    assert (two, four) == (Said([0] * 2, []), Said([0] * 4, []))
    for each, (count, dead) in zip(killed, ((2, 1), (4, 3), (3, 0), (2, 1)), strict=True):
        assert each.codes == [-9 if rank == dead else 1 for rank in range(count)], each
        assert each.said, each
        for line in each.said:
            assert line.startswith("scan: process ") and line.endswith(
                ": start all again with --resume"
            ), line
        assert len(each.said) == 1 or dead == 0  # it was the one that others could ask
    assert (last, again) == (Said([0] * 4, []), Said([0] * 2, []))
    for name in ("two", "four", "killed"):
        assert content(tmp_path / name) == whole, name


class Beside(Ranks):
    """Process 0 of two; the other one has other pictures, or other weights."""

    def gathered(self, value):
        return [value, self.other(*value)]


@pytest.mark.parametrize(
    ("other", "error", "words"),
    [
        (lambda count, names, weights: (21, "f00d", weights), BadData, "process 1 finds 21 images"),
        (lambda count, names, weights: (count, "f00d", weights), BadData, "or of other names"),
        (lambda count, names, weights: (count, names, "f00d"), BadModel, "other weights of tiny"),
    ],
)
def test_processes_with_other_files_are_refused_and_one_is_named(
    tiny, pictures, tmp_path: Path, monkeypatch, other, error, words: str
):
    monkeypatch.setattr(Beside, "other", staticmethod(other), raising=False)
    out = tmp_path / "out"
    with pytest.raises(error, match=f"{words}.*give all processes the same file"):
        write_atlas(
            tiny.model(), open_images(pictures), out, Search(), how=Execution(ranks=Beside(0, 2))
        )
    assert not out.exists()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("images", [range(0), range(5, 6), range(8), range(3, 26)])
def test_images_are_dealt_without_twins_in_the_batches_of_one_process(count: int, images: range):
    ranks = [Ranks(rank, count) for rank in range(count)]
    dealt = ranks[0].deal(images, 4)
    assert all(each.deal(images, 4) == dealt for each in ranks)
    assert [batch for shared in dealt for batch in shared] == [
        images[at : at + 4] for at in range(0, len(images), 4)
    ]
    hands = [each.hand(dealt) for each in ranks]
    assert sorted(image for hand in hands for image in hand) == list(images)
    for rank, hand in enumerate(hands):
        assert hand == [image for shared in dealt for image in (*shared, *[()] * count)[rank]]


def test_with_other_batches_the_tables_differ_by_no_more_than_the_convolutions_rounding(tiny):
    network = open_network(tiny.module(), (3, 24, 24))
    images = torch.randn(22, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    activations = {name: network.activation(name) for name in network.conv_layers()}

    def tables(size: int) -> dict[str, TopK]:
        found = Strongest(network, activations, 9)
        for at in range(0, 22, size):
            part = images[at : at + size]
            indices = torch.arange(at, at + len(part))
            forward_batch(network, Batch(part, indices, ("",) * len(part)), [found])
        return found.tables

    reference = tables(22)
    for size in (1, 3, 4, 8):
        for name, table in tables(size).items():
            expected = reference[name]
            torch.testing.assert_close(table.value, expected.value, rtol=1e-5, atol=1e-6)
            apart = (expected.value[:, :-1] - expected.value[:, 1:]).amin(1) > 1e-4
            assert torch.equal(table.image[apart], expected.image[apart])
