"""Archives and shards, read in place: which images, in which order, with which labels, and no more
bytes than they may cost."""

from __future__ import annotations

import bz2
import io
import itertools
import json
import lzma
import os
import socket
import struct
import tarfile
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from convscope.distributed import Ranks
from convscope.errors import BadData, BadImage
from convscope.images.datasets import open_images
from convscope.images.image_set import ImageSet
from convscope.images.tars import LANES, STRETCH, expand_braces


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), (number, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


def tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def seen(images: ImageSet) -> dict[str, tuple[int, int | None]]:
    """By name the red of each image, and its label."""
    return {
        images.name(i): (int(np.asarray(images.picture(i))[0, 0, 0]), images.label(i))
        for i in range(len(images))
    }


CLASSES = {"train/cat/1.png": png(1), "train/ant/2.png": png(2), "val/cat/3.png": png(3)}


# tars


def test_a_tar_is_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar({**CLASSES, "notes.txt": b"-"}))
    images = open_images(tmp_path / "x.tar")
    assert images.classes == ("ant", "cat")
    assert seen(images) == {
        "train/ant/2.png": (2, 0), "train/cat/1.png": (1, 1), "val/cat/3.png": (3, 1),
    }  # fmt: skip
    within = open_images(tmp_path / "x.tar" / "train")
    assert seen(within) == {"ant/2.png": (2, 0), "cat/1.png": (1, 1)}


def test_a_tar_and_a_folder_of_the_same_images_are_the_same_set(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar(CLASSES))
    with tarfile.open(tmp_path / "x.tar") as archive:
        archive.extractall(tmp_path / "x", filter="data")
    assert open_images(tmp_path / "x.tar").identity() == open_images(tmp_path / "x").identity()


def test_a_tar_of_tars_is_a_set_with_a_tar_per_class(tmp_path: Path) -> None:
    inner = {"n01.tar": tar({"n01_1.JPEG": png(1)}), "n02.tar": tar({"n02_7.JPEG": png(7)})}
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(tar(inner))
    images = open_images(tmp_path / "ILSVRC2012_img_train.tar")
    assert images.classes == ("n01", "n02")
    assert seen(images) == {"n01/n01_1.JPEG": (1, 0), "n02/n02_7.JPEG": (7, 1)}


def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(BadData, match=r"decompress it once, to x\.tar"):
        open_images(tmp_path / "x.tar.gz")


def test_a_tar_that_is_cut_short_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    whole = tar({"1.png": png(1), "2.png": png(2) + bytes(4000)})
    (tmp_path / "x.tar").write_bytes(whole[: 512 + 512 + 512 + 700])
    images = open_images(tmp_path / "x.tar")
    assert (
        "x.tar is damaged or cut short" in images.left_out[0].name + " " + images.left_out[0].reason
    )
    assert images.name(0) == "1.png"
    images.picture(0)
    with pytest.raises(BadImage, match=r"2\.png: is cut short in its tar"):
        images.picture(1)


def test_a_damaged_header_does_not_end_a_tar_in_silence(tmp_path: Path) -> None:
    data = bytearray(tar({"1.png": png(1), "2.png": png(2)}))
    data[1024 + 148] ^= 1  # the checksum of the second header
    (tmp_path / "x.tar").write_bytes(data)
    images = open_images(tmp_path / "x.tar")
    assert len(images) == 1
    assert "the header at byte 1,024 is damaged" in images.left_out[0].reason


def test_random_damage_to_a_tar_raises_nothing_else(tmp_path: Path) -> None:
    inner = tar({"1.png": png(1), "1.cls": b"5"})
    good, generator = tar({"a.tar": inner, "b/2.png": png(2)}), np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(good)
        for place in generator.integers(0, len(data), 4):
            data[place] = generator.integers(0, 256)
        (tmp_path / "x.tar").write_bytes(data)
        try:
            images = open_images(tmp_path / "x.tar")
        except BadData:
            continue
        for index in range(len(images)):
            try:
                images.picture(index)
            except BadImage:
                continue


# names


ODD = ["b.png", "./b.png", "b.png", "../x.png", "a/../../y.png", "c.png"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_there_twice_or_lead_out_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number, name in enumerate(ODD):
                archive.writestr(name, png(number))
    else:
        with tarfile.open(path, "w") as archive:
            for number, name in enumerate(ODD):
                member = tarfile.TarInfo(name)
                member.size = len(png(number))
                archive.addfile(member, io.BytesIO(png(number)))
    images = open_images(path)
    assert seen(images) == {"b.png": (2, None), "c.png": (5, None)}
    assert [each.name for each in images.left_out] == [
        "b.png", "b.png", "../x.png", "a/../../y.png",
    ]  # fmt: skip
    lines = images.about_left_out()
    assert lines[0] == "left out b.png: is there twice in the archive: the last one counts"
    assert lines[2] == "left out ../x.png: leads out of the archive"


def test_an_entry_without_a_name_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", png(1))
        archive.writestr("b.png", png(2))
    data = path.read_bytes()
    at = data.index(b"PK\1\2")  # of the first entry in the list: its name is none
    assert data[at + 46 : at + 47] == b"x"
    data = data[: at + 28] + b"\0\0" + data[at + 30 : at + 46] + data[at + 47 :]
    end = data.index(b"PK\5\6")
    size = int.from_bytes(data[end + 12 : end + 16], "little") - 1
    path.write_bytes(data[: end + 12] + size.to_bytes(4, "little") + data[end + 16 :])
    images = open_images(path)
    assert seen(images) == {"b.png": (2, None)}
    assert [(each.name, each.reason) for each in images.left_out] == [("", "has no name")]


def test_a_zip_of_a_later_version_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.png", png(2))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 6] = 235
    path.write_bytes(data)
    with pytest.raises(BadData, match=r"x\.zip: not a readable zip: zip file version 23\.5$"):
        open_images(path)


# limits


def lying_zip(path: Path, method: int, packed: bytes, declared: int, checksum: int) -> None:
    """A zip with one entry, whose header says what it likes."""
    name = b"big.png"
    about = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 33, checksum, len(packed), declared, 7, 0)
    local = b"PK\3\4" + about + name + packed
    central = b"PK\1\2" + struct.pack("<H", 20) + about + bytes(14 - 4) + bytes(4) + name
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)


def packed(method: int, data: bytes) -> bytes:
    if method == zipfile.ZIP_DEFLATED:
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        return stream.compress(data) + stream.flush()
    if method == zipfile.ZIP_BZIP2:
        return bz2.compress(data)
    alone = lzma.compress(data, lzma.FORMAT_ALONE)
    return b"\t\x14\5\0" + alone[:5] + alone[13:]


METHODS = [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_an_entry_is_not_inflated_beyond_what_it_declares(tmp_path: Path, method: int) -> None:
    size = 30_000_000
    lying_zip(tmp_path / "x.zip", method, packed(method, bytes(size)), 1000, 0)
    images = open_images(tmp_path / "x.zip")
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match=r"more than the 1,000 bytes that are declared"):
            images.picture(0)
        assert tracemalloc.get_traced_memory()[1] < size / 3  # LZMA has a dictionary of 8 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", METHODS)
def test_entries_of_every_compression_are_read(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a.png", png(9))
    assert seen(open_images(tmp_path / "x.zip")) == {"a.png": (9, None)}


def test_a_wrong_checksum_and_a_short_entry_are_named(tmp_path: Path) -> None:
    data = packed(zipfile.ZIP_DEFLATED, png(1))
    for declared, checksum, words in [
        (len(png(1)), 5, "checksum is wrong"),
        (10_000, zlib.crc32(png(1)), "though 10,000 are declared"),
    ]:
        lying_zip(tmp_path / "x.zip", zipfile.ZIP_DEFLATED, data, declared, checksum)
        with pytest.raises(BadImage, match=words):
            open_images(tmp_path / "x.zip").picture(0)


# counts


def test_a_count_takes_so_many_images_evenly(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar({f"{k}/{n}.png": png(n) for k in "ab" for n in range(4)}))
    with tarfile.open(tmp_path / "x.tar") as archive:
        archive.extractall(tmp_path / "x", filter="data")
    for place in ("x.tar", "x"):
        images = open_images(f"{tmp_path / place}:4")
        assert list(seen(images)) == ["a/0.png", "a/2.png", "b/0.png", "b/2.png"]
        assert [images.label(i) for i in range(4)] == [0, 0, 1, 1]
        assert images.spec == f"{tmp_path / place}:4"
        assert len(open_images(f"{tmp_path / place}:99")) == 8
    assert len(open_images(f"{tmp_path / 'x.tar'}/b:2")) == 2
    with pytest.raises(BadData, match="give 1 or more"):
        open_images(f"{tmp_path / 'x'}:0")


def test_a_path_that_ends_like_a_count_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "x:3").mkdir()
    (tmp_path / "x:3" / "1.png").write_bytes(png(1))
    assert len(open_images(tmp_path / "x:3")) == 1


# folders


def test_odd_things_in_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "deep").mkdir(parents=True)
    (root / "a.png").write_bytes(png(1))
    (root / "self").symlink_to(root / "self")
    (root / "self.png").symlink_to(root / "self.png")
    (root / "deep" / "up").symlink_to(root)
    (root / "clip.mov").write_bytes(b"x")
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s.png"))
        (root / os.fsdecode(b"caf\xe9.png")).write_bytes(png(2))
        images = open_images(root)
        assert [(each.name, each.reason.split(":")[0]) for each in images.left_out] == [
            ("deep/up", "leads back to a folder that it lies in"),
            ("self", "cannot be followed"),
            ("clip.mov", "is a video"),
        ]  # fmt: skip
        read, refused = [], {}
        for index in range(len(images)):
            try:
                images.picture(index)
                read.append(images.name(index))
            except BadImage as error:
                refused[images.name(index)] = str(error)
    assert read == ["a.png", "caf\\xe9.png"]
    assert "is a device, pipe or socket" in refused["pipe.png"]
    assert "is a device, pipe or socket" in refused["s.png"]
    assert "self.png: cannot be read" in refused["self.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root lists every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "private").mkdir(mode=0)
    images = open_images(tmp_path)
    (tmp_path / "private").chmod(0o700)
    assert images.left_out[0].name == "private/"
    assert images.left_out[0].reason.startswith("cannot be listed")


def test_a_folder_that_cannot_be_listed_is_named_by_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "a.png").write_bytes(png(1))
    scandir = os.scandir

    def refusing(path: object) -> object:
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    images = open_images(tmp_path)
    assert images.about_left_out() == ["left out private/: cannot be listed: Permission denied"]


def test_arrays_count_where_no_picture_does(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.full((2, 2), 7, np.uint8))
    assert seen(open_images(tmp_path)) == {"1.npy": (7, None)}
    (tmp_path / "2.png").write_bytes(png(2))
    assert seen(open_images(tmp_path)) == {"2.png": (2, None)}


def test_video_frames_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (11, 2, 1):
        (tmp_path / f"{number:06d}.png").write_bytes(png(number))
    assert [red for red, _ in seen(open_images(tmp_path)).values()] == [1, 2, 11]
    with pytest.raises(BadData, match=r"clip\.mp4: is a video: make pictures of it"):
        (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftyp")
        open_images(tmp_path / "clip.mp4")


# shards


def sample(number: int) -> dict[str, bytes]:
    """An image as WebDataset writes it."""
    about = json.dumps({"caption": "x", "label": number % 3}).encode()
    return {f"{number:04d}.png": png(number % 256), f"{number:04d}.json": about}


def shards(count: int, each: int) -> dict[str, bytes]:
    made = {}
    for shard in range(count):
        files: dict[str, bytes] = {}
        for number in range(shard * each, (shard + 1) * each):
            files |= sample(number)
        made[f"shard-{shard:03d}.tar"] = tar(files)
    return made


@pytest.fixture(params=["memory", "file", "path"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Three shards of four images, at an address."""
    made = shards(3, 4)
    if request.param == "memory":
        system = fsspec.filesystem("memory")
        for name, data in made.items():
            system.pipe(f"/set-{tmp_path.name}/{name}", data)
        return f"memory://set-{tmp_path.name}"
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return f"file://{tmp_path}" if request.param == "file" else str(tmp_path)


@pytest.mark.parametrize("pattern", ["shard-{000..002}.tar", "shard-*.tar", "shard-00{0,1,2}.tar"])
def test_shards_at_any_address_are_one_set(place: str, pattern: str) -> None:
    images = open_images(f"{place}/{pattern}")
    assert images.streamed
    assert images.spec == f"{place}/{pattern}"
    assert seen(images) == {
        f"shard-{number // 4:03d}/{number:04d}.png": (number, number % 3) for number in range(12)
    }
    assert len(open_images(f"{place}/{pattern}:5")) == 5


def test_the_identity_of_shards_is_that_of_their_headers(place: str) -> None:
    whole, part = open_images(f"{place}/shard-*.tar"), open_images(f"{place}/shard-00{{0,1}}.tar")
    assert whole.identity() == open_images(f"{place}/shard-{{000..002}}.tar").identity()
    assert whole.identity() != part.identity()
    assert not whole.known_digests()  # nothing was read for it


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("memory://nowhere/x-{0..1}.tar", "there is no such file"),
        ("memory://nowhere/*.tar", "there is no such file"),
        ("nosuch://x/y.tar", "cannot be opened: Protocol not known: nosuch"),
    ],
)
def test_shards_that_are_not_there_are_refused_by_name(address: str, words: str) -> None:
    with pytest.raises(BadData, match=words):
        open_images(address)


def test_braces_are_written_out() -> None:
    assert expand_braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand_braces("{a,b}/{0..1}") == ["a/0", "a/1", "b/0", "b/1"]
    assert expand_braces("plain.tar") == ["plain.tar"]


def test_each_of_several_processes_reads_its_own_shards(tmp_path: Path) -> None:
    system, counts = fsspec.filesystem("memory"), [70, 40, 64, 5, 33, 90, 32, 64, 96, 20]
    first = 0
    for shard, count in enumerate(counts):
        files = {f"{n:04d}.png": png(n % 256) for n in range(first, first + count)}
        system.pipe(f"/lanes-{tmp_path.name}/{shard:02d}.tar", tar(files))
        first += count
    images = open_images(f"memory://lanes-{tmp_path.name}/*.tar")
    order = list(images.scan_order())
    assert sorted(order) == list(range(sum(counts)))
    shard_of = [int(images.name(index).partition("/")[0]) for index in order]
    batches = [shard_of[at : at + STRETCH] for at in range(0, len(order), STRETCH)]
    lanes = [{shard % LANES for shard in batch} for batch in batches]
    full = min(sum(counts[lane::LANES]) // STRETCH for lane in range(LANES) if lane != 3)
    for number, lane in enumerate(lanes[: full * (LANES - 1)]):
        assert len(lane) == 1  # and lane 3, of 5 images, has no whole stretch
        assert lane == {[0, 1, 2, 4, 5, 6, 7][number % 7]}


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_shards_of_one_length_are_never_shared_by_processes(tmp_path: Path, processes: int) -> None:
    system = fsspec.filesystem("memory")
    for shard in range(16):
        files = {f"{shard}-{n}.png": png(n) for n in range(2 * STRETCH)}
        system.pipe(f"/even-{tmp_path.name}/{shard:02d}.tar", tar(files))
    images = open_images(f"memory://even-{tmp_path.name}/*.tar")
    rounds = Ranks(0, processes).deal(images.scan_order(), STRETCH)
    owners: dict[str, set[int]] = {}
    for rank in range(processes):
        for index in Ranks(rank, processes).hand(rounds):
            owners.setdefault(images.name(index).partition("/")[0], set()).add(rank)
    assert len(owners) == 16
    assert all(len(ranks) == 1 for ranks in owners.values())


class Counted:
    """How many bytes were fetched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranges: list[tuple[int, int]] = []
        kind = type(fsspec.filesystem("memory"))
        fetch = kind.cat_file

        def counted(system: object, path: str, start: int, end: int, **more: object) -> bytes:
            self.ranges.append((start, end))
            return fetch(system, path, start=start, end=end, **more)

        monkeypatch.setattr(kind, "cat_file", counted)


def test_a_shard_is_fetched_in_blocks_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).bytes(200_000)
    files = {f"{n:03d}.png": png(n) + noise for n in range(50)}
    system = fsspec.filesystem("memory")
    system.pipe(f"/blocks-{tmp_path.name}.tar", tar(files))
    images, counted = open_images(f"memory://blocks-{tmp_path.name}.tar"), Counted(monkeypatch)
    reds = [int(np.asarray(images.picture(index))[0, 0, 0]) for index in images.scan_order()]
    assert reds == list(range(50))
    assert len(counted.ranges) <= 4  # of 10 MB in blocks of 4 MiB
    spans = sorted(counted.ranges)
    assert all(a[1] <= b[0] + 201_000 for a, b in itertools.pairwise(spans))
    counted.ranges.clear()
    fresh = open_images(f"memory://blocks-{tmp_path.name}.tar")
    fresh.picture(40)  # out of its order: this image alone
    assert counted.ranges[0][1] - counted.ranges[0][0] == len(files["040.png"])


def test_threads_read_shards_together(place: str) -> None:
    images = open_images(f"{place}/shard-*.tar")
    expected, failures = seen(images), []

    def read() -> None:
        if seen(images) != expected:
            failures.append(1)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
