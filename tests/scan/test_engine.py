"""The engine: observers share a pass, and know the same however it is cut, stopped or shared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import warm
from convscope.errors import NonFinite
from convscope.network.network import Network, open_network
from convscope.scan import engine
from convscope.scan.checkpoint import CheckpointFile
from convscope.scan.engine import ScanState
from convscope.store.lock import LOCK
from folders import content

from .noise import (
    BATCH,
    BROKEN,
    COUNT,
    GREY,
    LAYERS,
    PREPROCESS,
    SIDE,
    Noise,
    SumByBatch,
    features_of,
    noisy_model,
    noisy_network,
    observers_of,
    scan_of,
    states_of,
)

SCRIPT = Path(__file__).with_name("scan_processes.py")
READABLE = [index for index in range(COUNT) if index not in BROKEN]


class Stop(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network() -> Network:
    return noisy_network()


@pytest.fixture
def commit_after_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def values_of(network: Network, layer: str) -> torch.Tensor:
    """The layer's values of all readable images, in one pass of our own."""
    images = Noise()
    pictures = [PREPROCESS.tensor(images.load(index).image) for index in READABLE]
    module = noisy_model().module[: int(layer) + 1]
    with torch.no_grad():
        return module(torch.stack(pictures))


def test_observers_know_what_a_pass_by_hand_gives(network: Network) -> None:
    features, _, total = made = observers_of(network)
    scan_of(network).run(*made)
    for layer in LAYERS:
        expected = values_of(network, layer).flatten(1).numpy()
        np.testing.assert_allclose(features.tables[layer][READABLE], expected, atol=1e-5)
        assert not features.tables[layer][list(BROKEN)].any()
    assert set(features.unread) == set(BROKEN)
    expected = values_of(network, "4").flatten(1).double().sum(0)
    torch.testing.assert_close(total.total.double(), expected, rtol=1e-5, atol=1e-5)


def passes(network: Network, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of images of every forward pass."""
    seen: list[int] = []
    stream = Network.stream

    def counted(self, images, names):
        seen.append(len(images))
        return stream(self, images, names)

    monkeypatch.setattr(Network, "stream", counted)
    return seen


def test_several_observers_share_a_pass_and_know_what_each_knows_alone(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passes(network, monkeypatch)
    together = observers_of(network)
    scan_of(network).run(*together)
    assert seen == [3, 2, 3, 3, 3, 3]  # of the batches that hold a readable image
    count = len(seen)
    for which in range(3):
        alone = observers_of(network)[which]
        scan_of(network).run(alone)
        assert_same(states_of([alone]), states_of([together[which]]))
    assert len(seen) == 4 * count


def test_mirror_images_cost_one_more_pass_for_those_who_ask_alone(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passes(network, monkeypatch)
    features, total = features_of(network, flips=True), SumByBatch("4")
    scan_of(network).run(features, total)
    mirrored = len(seen)
    alone = SumByBatch("4")
    scan_of(network).run(alone)
    assert mirrored == 2 * (len(seen) - mirrored)
    assert torch.equal(alone.total, total.total)


def test_images_that_cannot_be_read_are_named_once_and_those_converted_are_counted(
    network: Network,
) -> None:
    seen = scan_of(network).run(SumByBatch("1"))
    assert seen.next == COUNT
    assert seen.skipped == tuple((index, f"{index:03d}", "is broken") for index in BROKEN)
    assert seen.converted == {"grey": len(GREY)}


@pytest.mark.usefixtures("commit_after_every_batch")
def test_stopped_at_every_commit_in_turn_it_ends_with_the_same(
    network: Network, tmp_path: Path
) -> None:
    whole = observers_of(network)
    seen = scan_of(network).run(*whole)
    file, stops, decoded = CheckpointFile(tmp_path / "state.safetensors"), 0, []
    while True:
        calls = 0

        def stop(what: str, done: int, total: int) -> None:
            nonlocal calls
            calls += 1
            if calls == 2 and done < total:  # the first tells where it begins
                raise Stop

        made, images = observers_of(network), Noise()
        scan = engine.Scan(network, images, PREPROCESS, batch_size=BATCH, progress=stop, workers=0)
        try:
            found = scan.run(*made, commits=file)
        except Stop:
            stops += 1
            decoded.append(images.decoded)
        else:
            break
    assert stops == -(-COUNT // BATCH) - 1
    assert_same(states_of(made), states_of(whole))
    assert found == seen.model_copy(update={"seconds": found.seconds})
    assert [min(part, default=None) for part in decoded] == [0, 3, 6, None, 12, 15, 18]


def test_a_finished_scan_reads_no_image_again(network: Network, tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "state.safetensors")
    first = observers_of(network)
    seen = scan_of(network).run(*first, commits=file)
    images, again = Noise(), observers_of(network)
    assert engine.Scan(network, images, PREPROCESS, batch_size=BATCH).run(*again, commits=file) == (
        seen
    )
    assert not images.decoded
    assert_same(states_of(again), states_of(first))


@pytest.mark.parametrize(("size", "workers"), [(1, 0), (5, 3), (22, 2), (None, None)])
def test_the_sizes_of_batches_change_the_last_bits_at_most(
    network: Network, size: int | None, workers: int | None
) -> None:
    expected, found = features_of(network), features_of(network)
    scan_of(network).run(expected)
    scan_of(network, batch_size=size, workers=workers).run(found)
    for layer in LAYERS:
        np.testing.assert_allclose(found.tables[layer], expected.tables[layer], atol=1e-6)


def test_only_the_images_asked_for_are_looked_at_in_their_order(network: Network) -> None:
    order, images = [17, 3, 9, 0], Noise()
    found, whole = features_of(network), features_of(network)
    scan = engine.Scan(network, images, PREPROCESS, indices=order, batch_size=2, workers=0)
    seen = scan.run(found)
    assert images.decoded == [17, 3, 0]
    assert (seen.next, [index for index, _, _ in seen.skipped]) == (4, [9])
    scan_of(network).run(whole)
    for layer in LAYERS:
        table = found.tables[layer]
        np.testing.assert_allclose(table[[17, 3, 0]], whole.tables[layer][[17, 3, 0]], atol=1e-6)
        assert not np.delete(table, [17, 3, 0], axis=0).any()


def test_progress_is_told_from_the_beginning_to_the_end_and_never_falls(network: Network) -> None:
    told: list[tuple[str, int, int]] = []
    scan = scan_of(network, progress=lambda *report: told.append(report), what="pictures")
    scan.run(SumByBatch("1"))
    assert told[0] == ("pictures", 0, COUNT) and told[-1] == ("pictures", COUNT, COUNT)
    assert {(what, total) for what, _, total in told} == {("pictures", COUNT)}
    done = [each for _, each, _ in told]
    assert done == sorted(done) and set(range(0, COUNT, BATCH)) <= set(done)


def test_without_an_image_nothing_is_seen(network: Network) -> None:
    observer = SumByBatch("1")
    assert scan_of(network, indices=[]).run(observer) == ScanState()
    assert observer.total == 0


def test_parts_are_handed_over_before_they_are_large(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, commits = features_of(network), []
    monkeypatch.setattr(engine, "PART_BYTES", 2 * BATCH * features.image_bytes)
    assert features.image_bytes == 4 * (4 * SIDE * SIDE + 80 + 7)

    class Noted(CheckpointFile):
        def save(self, seen, observers) -> None:
            commits.append(seen.next)

    scan_of(network).run(features, commits=Noted(Path("nowhere")))
    assert commits == [3, 9, 15, 21, 22]


def test_a_value_that_is_no_number_is_an_error_that_names_layer_and_image() -> None:
    module = noisy_model().module
    with torch.no_grad():
        module[6].bias[0] = float("nan")
    spoiled = open_network(module, (3, SIDE, SIDE))
    said = r"layer 6 is NaN or infinite for 000\S*, in 1 of \d+ maps \(0\)"
    with pytest.raises(NonFinite, match=said):
        scan_of(spoiled).run(features_of(spoiled))


def processes(folder: Path, *words: str) -> list[list[int]]:
    """The exit codes of each word's processes: see scan_processes.py."""
    done = warm.run(SCRIPT, folder, *words)
    assert done.returncode == 0, done.stderr
    lines = (line for line in done.stdout.splitlines() if not line.startswith("[Gloo]"))
    return [json.loads(line) for line in lines]  # torch 2.10's Gloo says that it is connected


@pytest.mark.slow
def test_one_two_and_four_processes_know_the_same_to_the_bit(
    network: Network, tmp_path: Path
) -> None:
    codes = processes(tmp_path, "observe:one=1", "observe:two=2", "observe:four=4")
    assert codes == [[0], [0] * 2, [0] * 4]
    whole = observers_of(network)
    scan_of(network).run(*whole)
    expected = states_of(whole)
    assert not torch.equal(expected["sum/total"], backwards(network)), "the order must matter"
    for name, count in (("one", 1), ("two", 2), ("four", 4)):
        for rank in range(count):
            assert_same(load_file(tmp_path / f"{name}-{rank}.safetensors"), expected)


def backwards(network: Network) -> torch.Tensor:
    """The sum with the batches in the other order."""
    observer = SumByBatch("4")
    for at in reversed(range(0, COUNT, BATCH)):
        scan_of(network, indices=range(COUNT)[at : at + BATCH]).run(observer)
    return observer.total


@pytest.mark.slow
def test_features_are_the_same_bytes_for_any_number_of_processes_and_after_any_kill(
    tmp_path: Path,
) -> None:
    """A process that is killed at a moment ends the others; the next ones go on."""
    words = ["read:whole=1", "read:two=2", "read:four=4", "read:apart=2", "read:memory=4"]
    assert processes(tmp_path, *words) == [[0], [0] * 2, [0] * 4, [0] * 2, [0] * 4]
    kills = [f"read:killed={count}:{rank}@{moment}" for count, rank, moment in (
        (1, 0, 1), (1, 0, 3), (1, 0, 6), (1, 0, 8), (2, 0, 9), (2, 0, 11), (2, 1, 1), (4, 0, 8),
    )]  # fmt: skip
    codes = processes(tmp_path, *kills, "read:killed=2")
    assert all(-9 in each for each in codes[:-1]), codes
    assert codes[-1] == [0, 0]
    expected = content(tmp_path / "whole")
    assert len(expected) == 3 * len(LAYERS)
    for lock in (tmp_path / "killed").rglob(LOCK):  # of a process killed when it had all rows
        assert lock.stat().st_size == 0
        lock.unlink()
    for name in ("two", "four", "apart", "killed"):
        assert content(tmp_path / name) == expected, name
    sums = json.loads((tmp_path / "whole-0.json").read_text())
    for name, count in (("two", 2), ("four", 4), ("apart", 2), ("memory", 4), ("killed", 2)):
        for rank in range(count):
            assert json.loads((tmp_path / f"{name}-{rank}.json").read_text()) == sums, (name, rank)
