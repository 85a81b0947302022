"""The HTTP source and its fake: the same promises, and the real one against servers that behave badly."""

import asyncio
import gzip
import logging
import socket
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.metrics import web_for
from activities.metrics.web import HttpConnection, HttpSource, text
from activities.ports import WebSource
from rollout.errors import MetricsUnavailable
from rollout.judge.fetched import MOST_BYTES, Fetched, Request
from tests.fakes.web import FakeWeb

SECRET = "s3cr3t-t0ken"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Make = Callable[..., HttpSource]


class Service:
    """A real HTTP server whose every answer is one function."""

    def __init__(self) -> None:
        self.handler: Handler = self._hello
        self.asked: list[web.Request] = []
        self.peers: list[object] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        door = web.Application()
        door.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(door, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def say(self, body: str | bytes = "", *, status: int = 200, **headers: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            raw = body.encode() if isinstance(body, str) else body
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(body=raw, status=status, headers=given)

        self.handler = answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.peers.append(request.get_extra_info("peername"))
        return await self.handler(request)

    async def _hello(self, _: web.Request) -> web.Response:
        return web.Response(text="hello")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def make(service: Service) -> AsyncIterator[Make]:
    sources = []

    def made(**connection: Any) -> HttpSource:
        sources.append(web_for(HttpConnection(**{"url": service.url, **connection})))
        return sources[-1]

    yield made
    for source in sources:
        await source.close()


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


# ── Both, the real one and the fake ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["real", "fake"])
class TestWebSource:
    @pytest.fixture
    def stand(self, kind: str, service: Service, make: Make) -> tuple[WebSource, Callable[..., None]]:
        if kind == "real":
            return make(), service.say
        fake = FakeWeb()

        def say(body: str = "", *, status: int = 200) -> None:
            fake.say("/x", body, status=status)

        return fake, say

    async def test_an_answer_is_its_status_and_its_text(self, stand: tuple[WebSource, Callable[..., None]]) -> None:
        source, say = stand
        for status in (200, 404, 503):
            say("grüße", status=status)
            fetched = await source.fetch(Request("/x"))
            assert fetched == Fetched(status, fetched.took_ms, "grüße")

    async def test_a_head_has_no_body(self, stand: tuple[WebSource, Callable[..., None]]) -> None:
        source, say = stand
        say("hello")
        assert (await source.fetch(Request("/x", "HEAD"))).body == ""

    async def test_a_long_body_is_cut(self, stand: tuple[WebSource, Callable[..., None]]) -> None:
        source, say = stand
        say("x" * MOST_BYTES)
        fetched = await source.fetch(Request("/x"))
        assert (len(fetched.body), fetched.cut) == (MOST_BYTES, False)
        say("x" * (MOST_BYTES + 1))
        fetched = await source.fetch(Request("/x"))
        assert (len(fetched.body), fetched.cut) == (MOST_BYTES, True)

    async def test_nobody_there_is_no_data(self, kind: str, make: Make) -> None:
        source: WebSource = make(url=nobody()) if kind == "real" else FakeWeb(reachable=False)
        with pytest.raises(MetricsUnavailable):
            await source.fetch(Request("/x"))


# ── What is sent ────────────────────────────────────────────────────────────────────────────────


async def test_the_forced_header_and_the_path_arrive_as_they_are(service: Service, make: Make) -> None:
    await make(url=f"{service.url}/base/").fetch(Request("/a%20b?c=%2F", headers={"X-Canary": "true"}))
    [asked] = service.asked
    assert asked.raw_path == "/base/a%20b?c=%2F"
    assert asked.headers["X-Canary"] == "true"
    assert asked.headers["User-Agent"] == "sluice"


async def test_the_connection_s_headers_win_over_the_spec_s(service: Service, make: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    source = make(headers={"X-Key": "ours"}, token_file=tmp_path / "token")
    await source.fetch(Request("/x", headers={"x-key": "theirs", "authorization": "theirs"}))
    (tmp_path / "token").write_text("rotated")
    await source.fetch(Request("/x"))
    assert [asked.headers["Authorization"] for asked in service.asked] == [f"Bearer {SECRET}", "Bearer rotated"]
    assert service.asked[0].headers.getall("X-Key") == ["ours"]


async def test_every_question_is_a_connection_of_its_own_without_cookies(service: Service, make: Make) -> None:
    service.say(Set_Cookie="member=a; Path=/")
    source = make()
    for _ in range(3):
        await source.fetch(Request("/x"))
    assert len(set(service.peers)) == 3
    assert [asked.headers.get("Cookie") for asked in service.asked] == [None, None, None]


async def test_the_environment_has_no_say(service: Service, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", nobody())
    monkeypatch.setenv("ALL_PROXY", nobody())
    assert (await make().fetch(Request("/x"))).status == 200


# ── What comes back ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(service: Service, make: Make, status: int) -> None:
    service.say(status=status, Location=f"{service.url}/elsewhere")
    assert (await make().fetch(Request("/x"))).status == status
    assert len(service.asked) == 1


async def test_time_is_measured_until_the_body_s_end(service: Service, make: Make) -> None:
    async def slowly(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"a")
        await asyncio.sleep(0.15)
        await answer.write(b"b")
        return answer

    service.handler = slowly
    fetched = await make().fetch(Request("/x"))
    assert fetched.body == "ab"
    assert 150 <= fetched.took_ms < 1500


@pytest.mark.parametrize("drips", [False, True])
async def test_no_complete_answer_in_time_is_an_answer_without_a_status(
    service: Service, make: Make, drips: bool
) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if drips:
            await answer.prepare(request)
        for _ in range(20):
            await asyncio.sleep(0.05)
            if drips:
                await answer.write(b".")
        return answer

    service.handler = hang
    began = time.monotonic()
    fetched = await make(timeout_s=0.2).fetch(Request("/x"))
    assert (fetched.status, fetched.body) == (None, "")
    assert 190 <= fetched.took_ms < 900
    assert time.monotonic() - began < 1


async def test_a_handshake_that_never_ends_was_no_question(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = make(url=f"https://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(MetricsUnavailable, match="no connection in time"):
            await source.fetch(Request("/x"))


async def test_a_body_without_end_is_left(service: Service, make: Make) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65_536)

    service.handler = flood
    fetched = await make().fetch(Request("/x"))
    assert (fetched.status, len(fetched.body), fetched.cut) == (200, MOST_BYTES, True)


async def test_what_was_packed_unasked_is_unpacked_no_further_than_needed(service: Service, make: Make) -> None:
    service.say(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip")
    fetched = await make().fetch(Request("/x"))
    assert (len(fetched.body), fetched.cut) == (MOST_BYTES, True)
    assert service.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("encoding", "words"), [("br", "packed with 'br'"), ("gzip", "no gzip, though it says so")])
async def test_what_cannot_be_unpacked_is_no_data(service: Service, make: Make, encoding: str, words: str) -> None:
    service.say("plain", Content_Encoding=encoding)
    with pytest.raises(MetricsUnavailable, match=words):
        await make().fetch(Request("/x"))


async def test_a_hang_up_is_no_data(make: Make) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(MetricsUnavailable, match="RemoteProtocolError"):
            await make(url=f"http://127.0.0.1:{port}").fetch(Request("/x"))


async def test_an_unknown_certificate_authority_is_no_data(service: Service, make: Make, tmp_path: Path) -> None:
    for connection in ({}, {"ca_file": tmp_path / "none.pem"}):
        source = make(url=service.url.replace("http:", "https:"), **connection)
        with pytest.raises(MetricsUnavailable):
            await source.fetch(Request("/x"))


async def test_a_caller_that_gives_up_is_not_held(service: Service, make: Make) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response()

    service.handler = hang
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(make().fetch(Request("/x")), 0.05)


# ── Secrets ─────────────────────────────────────────────────────────────────────────────────────


async def test_no_error_and_no_log_tells_a_secret_or_a_body(
    service: Service, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "token").write_text(SECRET)
    source = make(token_file=tmp_path / "token", headers={"X-Key": SECRET})
    service.say(f"body {SECRET}", Content_Encoding="br")
    with pytest.raises(MetricsUnavailable) as failed:
        await source.fetch(Request("/x"))
    error: BaseException | None = failed.value
    while error:
        assert SECRET not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__
    assert SECRET not in caplog.text
    assert SECRET not in repr(HttpConnection(url=service.url, headers={"X-Key": SECRET}))


@pytest.mark.parametrize("content", ["", f"{SECRET} {SECRET}", f"{SECRET}\nX: y", f"{SECRET}ü"])
async def test_a_token_file_that_holds_no_token_is_not_quoted(make: Make, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(MetricsUnavailable, match="holds no token") as failed:
        await make(token_file=tmp_path / "token").fetch(Request("/x"))
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize("url", [f"http://me:{SECRET}@h", f"http://h/?t={SECRET}", "ftp://h", "h"])
def test_a_connection_holds_no_secret_in_its_url(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HttpConnection(url=url)
    assert SECRET not in str(refused.value)


# ── Pure ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "encoding", "content_type", "body"),
    [
        ("é".encode("latin-1"), "", "text/plain; charset=ISO-8859-1", "é"),
        ("é".encode(), "", "text/plain; charset=none-such", "é"),
        (b"\xff", "identity", "", "\ufffd"),
        (gzip.compress(b"a"), "GZIP", "", "a"),
        (zlib.compress(b"a"), "deflate", "", "a"),
        (b"", "gzip", "", ""),
    ],
)
def test_bodies_become_text(raw: bytes, encoding: str, content_type: str, body: str) -> None:
    assert text(raw, encoding, content_type) == (body, False)


def test_a_packed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(30_000_000))
    tracemalloc.start()
    try:
        body, cut = text(bomb, "gzip", "")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(body), cut) == (MOST_BYTES, True)
    assert peak < 2_000_000


@given(st.binary(max_size=80), st.sampled_from(["", "gzip", "deflate", "br"]), st.text(max_size=30))
def test_whatever_comes_is_text_or_no_data(raw: bytes, encoding: str, content_type: str) -> None:
    try:
        body, _ = text(raw, encoding, content_type)
    except MetricsUnavailable:
        return
    assert len(body) <= MOST_BYTES
