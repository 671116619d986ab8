"""The explorer's socket: questions, their answers, what is cancelled, and a process that ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from convscope.errors import BadModel
from convscope.explorer import link
from convscope.explorer.frames import unpack
from convscope.explorer.link import Link
from explorer.serving_here import TOKEN, Served, in_a_thread
from explorer.slow_desk import SlowDesk


@pytest.fixture
def served() -> Iterator[Served]:
    SlowDesk.released.clear()
    with Served(SlowDesk) as served:
        yield served
        SlowDesk.released.set()


class Page:
    """A page that asks."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.first = self.next()

    def ask(self, number: int, do: str, **more: Any) -> None:
        self.socket.send_text(json.dumps({"id": number, "do": do, **more}))

    def next(self) -> dict[str, Any]:
        header, parts = unpack(self.socket.receive_bytes())
        return {**header, "parts": parts}

    def all(self, number: int) -> list[dict[str, Any]]:
        """The replies to a question, to the last."""
        found = []
        while not found or not found[-1]["done"]:
            reply = self.next()
            assert reply.get("id") == number, reply
            found.append(reply)
        return found


@pytest.fixture
def page(served: Served) -> Iterator[Page]:
    with served.socket() as socket:
        yield Page(socket)


def test_a_page_is_told_of_the_model_first(page: Page) -> None:
    assert page.first["event"] == "ready"
    assert page.first["hello"]["title"] == "slow"


@pytest.mark.parametrize("words", ["dog", "</b><img src=x onerror=alert(1)>", "\x00\u2028é", ""])
def test_an_answer_comes_with_its_parts_and_names_as_they_are(page: Page, words: str) -> None:
    page.ask(3, "echo", words=words)
    reply, end = page.all(3)
    assert (reply["said"], reply["parts"]) == (words, [words.encode()])
    assert end == {"id": 3, "done": True, "parts": []}


def test_replies_come_one_by_one(page: Page) -> None:
    page.ask(1, "count", to=5)
    assert [reply.get("number") for reply in page.all(1)] == [0, 1, 2, 3, 4, None]


def test_errors_are_a_line_and_the_next_question_is_answered(page: Page, capfd: Any) -> None:
    page.ask(1, "dance")
    assert page.all(1)[-1]["error"] == "the page asked for 'dance', which this server has not"
    page.ask(2, "crash")
    assert page.all(2)[-1]["error"].startswith("ZeroDivisionError: a fault")
    assert "Traceback" in capfd.readouterr().err
    page.ask(3, "echo", words="still here")
    assert page.all(3)[0]["said"] == "still here"


NO_QUESTIONS = [
    "", "no JSON", "[]", "7", '{"id": 1}', '{"do": "echo"}', '{"id": "1", "do": "echo"}',
    '{"id": 1, "do": "keep", "name": "x"}',
    json.dumps({"id": 1, "do": "echo", "words": 70000 * "x"}),
    "[" * 60_000, '{"id": 1, "do": "echo", "words": NaN}',
    '{"id": 1, "do": "echo", "words": 1e999}',
]  # fmt: skip


@pytest.mark.parametrize("text", NO_QUESTIONS)
def test_what_is_no_question_is_refused_and_the_page_goes_on(page: Page, text: str) -> None:
    page.socket.send_text(text)
    assert page.next()["error"] == "no request that is understood"
    page.ask(1, "echo", words="on")
    assert page.all(1)[0]["said"] == "on"


def test_bytes_are_no_question_and_the_page_goes_on(page: Page) -> None:
    page.socket.send_bytes(b"\xff")
    assert page.next()["error"] == "no request that is understood"
    page.ask(1, "echo", words="on")
    assert page.all(1)[0]["said"] == "on"


def test_a_cancelled_question_stops_computing(page: Page) -> None:
    page.ask(1, "wait")
    assert page.next()["waiting"]
    page.socket.send_text('{"id": 1, "do": "cancel"}')
    assert page.next() == {"id": 1, "done": True, "cancelled": True, "parts": []}
    page.ask(2, "stopped")
    assert page.all(2)[0]["stopped"] == [1]


def test_a_newer_question_of_a_slot_takes_the_place_of_the_older(page: Page) -> None:
    page.ask(1, "wait", slot="occluder")
    assert page.next()["waiting"]
    page.ask(2, "wait", slot="other")
    assert page.next()["waiting"]
    page.ask(3, "echo", slot="occluder", words="new")
    replies = sorted(
        (page.next() for _ in range(3)), key=lambda reply: (reply["id"], reply["done"])
    )
    assert replies[0] == {"id": 1, "done": True, "cancelled": True, "parts": []}
    assert replies[1]["said"] == "new"
    page.ask(4, "stopped")
    assert page.all(4)[0]["stopped"] == [1]  # the one of the other slot goes on


def test_a_page_that_closes_stops_what_it_asked_and_no_other_s(served: Served) -> None:
    with served.socket() as other:
        stays = Page(other)
        stays.ask(7, "wait")
        assert stays.next()["waiting"]
        with served.socket() as socket:
            goes = Page(socket)
            goes.ask(1, "wait")
            assert goes.next()["waiting"]
        stopped: list[int] = []
        for number in range(100, 1000):
            stays.ask(number, "stopped")
            stopped = stays.all(number)[0]["stopped"]
            if stopped:
                break
        assert stopped == [1]


def test_two_pages_get_their_own_answers_though_they_count_alike(served: Served) -> None:
    with served.socket() as one, served.socket() as two:
        pages = [Page(one), Page(two)]
        for number, page in enumerate(pages):
            page.ask(1, "echo", words=f"to {number}")
        assert [page.all(1)[0]["said"] for page in pages] == ["to 0", "to 1"]


def test_a_process_that_ends_is_started_again_and_has_the_images(
    served: Served, page: Page
) -> None:
    kept = served.client.post(f"/{TOKEN}/images?name=dog.png", content=b"image-dog")
    assert (kept.json()["key"], kept.json()["name"]) == ("-dog", "dog.png")
    page.ask(1, "hang")
    assert page.next()["hanging"]
    before = page.first["hello"]["opened"]
    page.socket.send_text('{"id": 2, "do": "restart"}')
    broken = page.next()
    assert (broken["id"], broken["done"]) == (1, True)
    assert broken["error"] == link.BROKEN
    assert page.next()["event"] == "restarting"
    ready = page.next()
    assert (ready["event"], ready["hello"]["opened"]) == ("ready", before + 1)
    page.ask(3, "echo", words="again")
    assert page.all(3)[0]["said"] == "again"


def test_a_computation_that_cannot_be_cancelled_is_killed(
    served: Served, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PATIENCE", 0.01)
    page.ask(1, "hang")
    assert page.next()["hanging"]
    page.socket.send_text('{"id": 1, "do": "cancel"}')
    assert page.next()["error"] == link.BROKEN
    assert [page.next()["event"] for _ in range(2)] == ["restarting", "ready"]


def test_an_image_that_cannot_be_read_is_refused_with_its_name(served: Served) -> None:
    answer = served.client.post(f"/{TOKEN}/images?name=<b>.png", content=b"nonsense")
    assert (answer.status_code, answer.json()) == (422, {"error": "<b>.png: is corrupt"})


async def opened(open_desk: Any) -> None:
    link = Link({}, in_a_thread(open_desk))
    try:
        await link.open()
    finally:
        await link.close()


def test_why_a_model_cannot_be_opened_is_raised_as_it_was() -> None:
    import asyncio

    def refuse(**opening: Any) -> SlowDesk:
        raise BadModel("no model is called 'resnet5'")

    with pytest.raises(BadModel, match="no model is called 'resnet5'"):
        asyncio.run(opened(refuse))


def test_a_model_s_process_that_dies_while_it_opens_is_said() -> None:
    import asyncio

    def die(**opening: Any) -> SlowDesk:
        sys.exit(1)

    with pytest.raises(Exception, match="ended while it opened the model"):
        asyncio.run(opened(die))
