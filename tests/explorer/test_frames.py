"""Messages of the explorer: they come out as they went in, one after the other."""

from __future__ import annotations

from io import BytesIO

import pytest

from convscope.explorer.frames import header_of, pack, posted, take, unpack

PARTS = [b"", b"\x00\xff" * 7, "é{}".encode()]


@pytest.mark.parametrize("parts", [[], PARTS, [b"x"]])
def test_a_frame_holds_what_was_put_in(parts: list[bytes]) -> None:
    header = {"id": 7, "name": "</script>\n\ud800 é", "parts": "is replaced"}
    frame = pack(header, parts)
    found, given = unpack(frame)
    assert given == parts
    assert found == {**header, "parts": [len(part) for part in parts]} == header_of(frame)


def test_frames_follow_each_other_on_a_pipe_with_their_tickets() -> None:
    frames = [pack({"n": n}, PARTS[:n]) for n in range(4)]
    pipe = BytesIO(b"".join(posted(10 + n, frame) for n, frame in enumerate(frames)))
    assert [take(pipe) for _ in range(5)] == [*((10 + n, frames[n]) for n in range(4)), None]


@pytest.mark.parametrize("cut", [1, 7, 9, -1])
def test_a_pipe_that_breaks_within_a_frame_has_ended(cut: int) -> None:
    assert take(BytesIO(posted(1, pack({"id": 1}, [b"abc"]))[:cut])) is None


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"value": float("nan")})
