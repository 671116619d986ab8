"""Who is let in to the explorer: with the token, under this machine's name, from its own page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect

from convscope.explorer import guard
from convscope.explorer.app import UPLOAD_BYTES
from convscope.explorer.guard import HEADERS, new_token
from explorer.serving_here import HERE, TOKEN, Served
from explorer.slow_desk import SlowDesk


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    atlas = tmp_path_factory.mktemp("outside") / "atlas"
    atlas.mkdir()
    (atlas / "index.html").write_text("<p>the atlas</p>")
    (atlas.parent / "secret.txt").write_text("secret")
    (atlas / "link.txt").symlink_to(atlas.parent / "secret.txt")
    with Served(SlowDesk, atlas) as served:
        yield served


PLACES = ["", "page/main.js", "page/atlas.css", "atlas/", "atlas/index.html", "nothing"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é"])
def test_without_the_token_nothing_is_served(served: Served, token: str, place: str) -> None:
    answer = served.client.get(f"/{token}/{place}" if token else f"/{place}")
    assert answer.status_code == 403
    assert "no valid token" in answer.text
    assert "<" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "", "10.0.0.7", "[", "::1"]
)
def test_another_host_is_refused_before_the_token_is_looked_at(served: Served, host: str) -> None:
    for token in (TOKEN, "wrong"):
        answer = served.client.get(f"/{token}/", headers={"host": host})
        assert answer.status_code == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:99", "LOCALHOST", "[::1]:8000"]
)
def test_this_machine_s_names_are_served_through_a_tunnel_too(served: Served, host: str) -> None:
    assert served.client.get(f"/{TOKEN}/", headers={"host": host}).status_code == 200


ORIGINS = [
    "http://evil.example",
    "null",
    "https://127.0.0.1:8000",
    "http://127.0.0.1:8001",
    "http://localhost:8000",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_requests_of_other_pages_are_refused(served: Served, origin: str) -> None:
    headers = {"origin": origin}
    assert served.client.get(f"/{TOKEN}/", headers=headers).status_code == 403
    sent = served.client.post(f"/{TOKEN}/images?name=a.png", content=b"x", headers=headers)
    assert sent.status_code == 403
    with pytest.raises(WebSocketDisconnect) as refused, served.socket(origin=origin):
        pass
    assert refused.value.code == 4403


def test_its_own_page_may_open_a_socket_and_others_may_not(served: Served) -> None:
    with served.socket(origin=HERE) as socket:
        assert b"ready" in socket.receive_bytes()
    for place in ("/socket", "/wrong/socket", f"/{TOKEN[:-1]}/socket"):
        address = HERE.replace("http", "ws") + place
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            served.client.websocket_connect(address),
        ):
            pass
        assert "no valid token" in refused.value.reason


@pytest.mark.parametrize("place", [*PLACES, "../"])
def test_every_answer_has_the_headers_that_keep_others_out(served: Served, place: str) -> None:
    for token in (TOKEN, "wrong"):
        answer = served.client.get(f"/{token}/{place}")
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], name
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.mark.parametrize(
    "place",
    ["atlas/../secret.txt", "atlas/%2e%2e/secret.txt", "atlas/..%2fsecret.txt", "atlas/link.txt",
     "page/..%2fapp.py", "page/%2e%2e%2fapp.py", "page/__init__.py", "page/template.html.j2"],
)  # fmt: skip
def test_nothing_outside_the_page_and_the_atlas_is_served(served: Served, place: str) -> None:
    answer = served.client.get(f"/{TOKEN}/{place}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_what_is_too_large_is_not_even_read(served: Served) -> None:
    headers = {"content-length": str(UPLOAD_BYTES + 1)}
    answer = served.client.post(f"/{TOKEN}/images?name=a.png", content=b"x", headers=headers)
    assert answer.status_code == 413
    assert "is larger than 32 MB" in answer.json()["error"]


def test_what_says_nothing_of_its_size_is_read_no_further_than_allowed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.explorer.app.UPLOAD_BYTES", 1 << 10)
    sent = []

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(512)
            yield b"x" * 512

    answer = served.client.post(f"/{TOKEN}/images?name=a.png", content=chunks())
    assert answer.status_code == 413


def test_tokens_are_drawn_anew_and_compared_in_constant_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50 and all(len(token) >= 43 for token in tokens)
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(guard.secrets, "compare_digest", compare)
    served.client.get("/guess/")
    assert compared == [(b"guess", TOKEN.encode())]


def test_the_page_has_no_script_or_style_in_its_markup() -> None:
    web = Path(guard.__file__).parent / "web"
    text = (web / "explore.html").read_text()
    assert "<script>" not in text and "<style" not in text and "style=" not in text
    for script in web.glob("*.js"):
        code = script.read_text()
        assert not any(word in code for word in ("innerHTML", "insertAdjacent", "eval(", "https:"))


def size(content: Any) -> int:
    import gzip

    return len(gzip.compress(content, 9))


def test_scripts_and_styles_are_small() -> None:
    web = Path(guard.__file__).parent / "web"
    own = [file.read_bytes() for file in [*web.glob("*.js"), *web.glob("*.css")]]
    assert sum(map(size, own)) < 35_000
