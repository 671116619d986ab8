"""A pass over images: the same for any number of threads, and tidy however it ends."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import BadImage, BadOption
from convscope.images.batches import AHEAD, Batch, batches
from convscope.images.datasets import FolderImages, open_images
from convscope.images.files import Decoded
from convscope.images.fitting import Fit
from convscope.images.image_set import Content, ImageSet
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling

INPUT = Preprocess((3, 5, 5), Scaling.UNIT, Fit.NONE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images 5×5 of random bytes, among them a corrupt one, a wrong size and a grey one."""
    random = np.random.default_rng(0)
    for number in range(10):
        pixels = random.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"not an image")
    Image.new("RGB", (6, 5)).save(tmp_path / "7.png")
    Image.new("L", (5, 5), 51).save(tmp_path / "8.png")
    return tmp_path


@pytest.fixture(autouse=True)
def no_thread_survives() -> Iterator[None]:
    yield
    if ours():
        gc.collect()  # an exception's traceback may hold the iterator in a circle
    assert ours() == []


def ours() -> list[str]:
    """The names of the reading threads that are alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("convscope-images")]


class Numbers(ImageSet):
    """Pictures made of their index, with a counter of how many were asked for."""

    def __init__(self, count: int, pause: float = 0.0) -> None:
        super().__init__("numbers", None)
        self.count, self.pause, self.read = count, pause, 0
        self._counting = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{index}"

    def label(self, index: int) -> int | None:
        return None

    def content(self, index: int) -> Content:
        with self._counting:
            self.read += 1
        time.sleep(self.pause * (index % 3))
        if index == 666:
            raise ZeroDivisionError("a mistake in the code, not in an image")
        return Content(b"%d" % index, lambda: Decoded(Image.new("RGB", (5, 5), (index % 256,) * 3)))


def flattened(found: list[Batch]) -> tuple[torch.Tensor, list[int], list[str], list[object]]:
    return (
        torch.cat([batch.tensors for batch in found]),
        [int(i) for batch in found for i in batch.indices],
        [digest for batch in found for digest in batch.digests],
        [skip for batch in found for skip in batch.skipped],
    )


def test_a_pass_yields_what_each_image_gives_alone(folder: Path) -> None:
    images = open_images(folder)
    tensors, indices, digests, _ = flattened(list(batches(images, INPUT, batch_size=4)))
    assert indices == [0, 1, 2, 4, 5, 6, 8, 9]
    assert torch.equal(tensors, torch.stack([INPUT.tensor(images.picture(i)) for i in indices]))
    assert digests == [open_images(folder).digest(i) for i in indices]
    assert tensors.dtype == torch.float32


def test_what_cannot_be_read_is_skipped_named_and_hashed(folder: Path) -> None:
    images = open_images(folder)
    found = list(batches(images, INPUT, batch_size=4))
    assert [len(batch) for batch in found] == [3, 3, 2]
    [corrupt], [large] = found[0].skipped, found[1].skipped
    assert (corrupt.index, corrupt.name) == (3, "3.png")
    assert corrupt.reason.startswith("is not an image in a known format")
    assert corrupt.digest == images.digest(3)
    assert (large.index, large.name) == (7, "7.png")
    assert large.reason.startswith("the picture is 6×5, the network takes 5×5")


def test_what_was_converted_is_told(folder: Path) -> None:
    found = list(batches(open_images(folder), INPUT, batch_size=10))
    [converted] = found[0].converted
    assert (converted.index, converted.name, converted.notes) == (8, "8.png", ("grey to RGB",))


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_the_number_of_workers_changes_nothing(folder: Path, workers: int) -> None:
    alone = list(batches(open_images(folder), INPUT, batch_size=3, workers=0))
    found = list(batches(open_images(folder), INPUT, batch_size=3, workers=workers))
    for first, second in zip(alone, found, strict=True):
        assert torch.equal(first.tensors, second.tensors)
        assert torch.equal(first.indices, second.indices)
        assert (first.digests, first.skipped, first.converted) == (
            second.digests,
            second.skipped,
            second.converted,
        )


@pytest.mark.parametrize("batch_size", [1, 4, 10, 99])
def test_the_batch_size_changes_only_the_cuts(folder: Path, batch_size: int) -> None:
    expected = flattened(list(batches(open_images(folder), INPUT, batch_size=3)))
    found = flattened(list(batches(open_images(folder), INPUT, batch_size=batch_size)))
    assert torch.equal(found[0], expected[0])
    assert found[1:] == expected[1:]


def test_order_is_kept_when_later_images_are_ready_first() -> None:
    found = list(batches(Numbers(30, pause=0.002), INPUT, batch_size=4, workers=5))
    assert [int(i) for batch in found for i in batch.indices] == list(range(30))


def test_chosen_images_come_in_the_order_of_choice_and_as_often() -> None:
    found = list(batches(Numbers(9), INPUT, batch_size=2, indices=[8, 0, 8, 3]))
    assert [batch.indices.tolist() for batch in found] == [[8, 0], [8, 3]]


def test_indices_may_be_an_array_or_a_tensor() -> None:
    for indices in (np.array([2, 1]), torch.tensor([2, 1])):
        [batch] = batches(Numbers(9), INPUT, batch_size=2, indices=indices)
        assert batch.indices.tolist() == [2, 1]


def test_nothing_chosen_is_an_empty_pass() -> None:
    assert list(batches(Numbers(9), INPUT, batch_size=2, indices=[])) == []


def test_a_batch_without_a_readable_image_still_comes_with_its_skips(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"x")
    [batch] = batches(open_images(tmp_path), INPUT, batch_size=8)
    assert batch.tensors.shape == (0, 3, 5, 5)
    assert batch.indices.dtype == torch.int64
    assert [skip.name for skip in batch.skipped] == ["a.jpg", "b.jpg"]


def test_a_file_that_vanishes_during_the_pass_is_skipped(folder: Path) -> None:
    images = open_images(folder)
    (folder / "0.png").unlink()
    [batch] = batches(images, INPUT, batch_size=10)
    assert batch.skipped[0].reason == "does not exist"
    assert batch.skipped[0].digest is None


def test_no_more_images_are_read_ahead_than_stated() -> None:
    images = Numbers(1000)
    running = batches(images, INPUT, batch_size=4, workers=3)
    next(running)
    time.sleep(0.05)
    assert images.read <= (1 + AHEAD) * 4
    running.close()


def test_the_next_images_are_read_while_the_caller_works() -> None:
    images = Numbers(1000)
    running = batches(images, INPUT, batch_size=1, workers=2)
    next(running)
    patience = time.monotonic() + 10
    while images.read < 1 + AHEAD and time.monotonic() < patience:
        time.sleep(0.001)  # the caller's work
    assert images.read == 1 + AHEAD
    running.close()


def test_nothing_is_read_before_the_first_batch_is_asked_for() -> None:
    images = Numbers(9)
    running = batches(images, INPUT, batch_size=2, workers=2)
    time.sleep(0.02)
    assert images.read == 0
    running.close()


def test_closing_early_ends_the_threads() -> None:
    running = batches(Numbers(1000, pause=0.001), INPUT, batch_size=4, workers=3)
    next(running)
    running.close()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_leaving_by_an_exception_ends_the_threads(error: type[BaseException]) -> None:
    def consume() -> None:
        for _ in batches(Numbers(1000), INPUT, batch_size=4, workers=3):
            raise error

    with pytest.raises(error):
        consume()


def test_a_mistake_in_the_code_is_not_taken_for_a_bad_image() -> None:
    running = batches(Numbers(1000), INPUT, batch_size=4, workers=2, indices=[1, 2, 666, 3])
    with pytest.raises(ZeroDivisionError):
        list(running)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch size 0: at least 1"),
        ({"workers": -1}, "workers -1: 0 or more"),
        ({"indices": [0, 9]}, r"image 9: the set has the images 0\.\.8"),
        ({"indices": [-1]}, "image -1"),
    ],
)
def test_wrong_options_are_refused_at_the_call(change: dict[str, object], words: str) -> None:
    with pytest.raises(BadOption, match=words):
        batches(Numbers(9), INPUT, **({"batch_size": 2} | change))


def test_a_set_whose_images_all_fail_says_why(folder: Path) -> None:
    images = FolderImages(str(folder))
    wrong = Preprocess((3, 9, 9), Scaling.UNIT, Fit.NONE)
    found = list(batches(images, wrong, batch_size=4))
    assert sum(map(len, found)) == 0
    assert sum(len(batch.skipped) for batch in found) == 10
    with pytest.raises(BadImage):
        wrong.picture(images.picture(0))
