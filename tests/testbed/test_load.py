"""A load that cannot see a lost request would prove every router perfect, so each way of losing one is acted out."""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.load import Answer, Load, Options, Tally
from testbed.report import LoadReport

Server = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GOOD = b"HTTP/1.1 200 OK\r\nX-Version: stable\r\nContent-Length: 2\r\n\r\n{}"


async def _run(
    tmp_path: Path, handle: Server, *, requests: int = 40, timeout_s: float = 2.0, users: int = 0
) -> LoadReport:
    """Send about so many requests to a server that is given each connection's number."""
    numbers = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(next(numbers), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rate = 200.0
    report = tmp_path / "load.json"
    options = Options(f"http://127.0.0.1:{port}/", rate, 2, report, requests / rate, timeout_s, "canary", 1, users)
    async with server:
        await Load(options).run()
    return LoadReport.model_validate_json(report.read_text())


async def _answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes = GOOD) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)


async def test_a_healthy_server_drops_nothing(tmp_path: Path) -> None:
    report = await _run(tmp_path, lambda _, reader, writer: _answer_all(reader, writer))
    assert report.dropped == {}
    assert report.finished
    assert 5 <= report.requests == report.versions["stable"] <= 41
    assert report.versions["canary"] == 0
    assert report.last_candidate_at is None


async def test_chunked_answers_are_complete_answers(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nX-Version: canary\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    report = await _run(tmp_path, lambda _, reader, writer: _answer_all(reader, writer, chunked))
    assert report.dropped == {}
    assert report.versions["canary"] == report.requests
    assert report.last_candidate_at is not None


async def test_a_connection_ended_instead_of_answered_is_a_drop_on_a_reused_one(tmp_path: Path) -> None:
    async def second_request_gets_nothing(_n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)
        await reader.readuntil(b"\r\n\r\n")

    report = await _run(tmp_path, second_request_gets_nothing)
    assert set(report.dropped) == {"reused:eof"}
    assert report.dropped_requests == report.dropped["reused:eof"] > 0
    assert sum(second["dropped"] for _, second in report.last_seconds) == report.dropped_requests


async def test_a_connection_closed_while_idle_costs_nothing(tmp_path: Path) -> None:
    async def one_each(_n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)

    report = await _run(tmp_path, one_each)
    assert report.dropped == {}


async def test_half_an_answer_is_a_drop(tmp_path: Path) -> None:
    async def cut_off(_n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD[:-1])

    report = await _run(tmp_path, cut_off)
    assert report.dropped == {"fresh:eof": report.requests}


async def test_a_reset_is_a_drop(tmp_path: Path) -> None:
    async def reset(_n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        at_once = struct.pack("ii", 1, 0)  # lingering for 0 s: closing resets instead of ending in order
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)

    report = await _run(tmp_path, reset)
    assert report.dropped == {"fresh:reset": report.requests}


async def test_silence_is_a_drop_after_the_time_limit(tmp_path: Path) -> None:
    async def silent(_n: int, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    report = await _run(tmp_path, silent, requests=10, timeout_s=0.1)
    assert report.dropped == {"fresh:timeout": report.requests}


async def test_something_that_is_not_http_is_a_drop(tmp_path: Path) -> None:
    report = await _run(tmp_path, lambda _, reader, writer: _answer_all(reader, writer, b"hello\r\n\r\n"))
    assert report.dropped == {"fresh:bad-response": report.requests}


async def test_a_refused_connection_is_a_drop(tmp_path: Path) -> None:
    options = Options("http://127.0.0.1:1/", 200.0, 2, tmp_path / "load.json", 0.05, 1.0, "canary", 1)
    await Load(options).run()
    report = LoadReport.model_validate_json(options.report.read_text())
    assert report.dropped == {"fresh:connect": report.requests}
    assert report.requests > 0


async def test_one_request_in_ten_has_a_connection_of_its_own(tmp_path: Path) -> None:
    requests_by_connection: dict[int, int] = {}

    async def count(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            requests_by_connection[number] = requests_by_connection.get(number, 0) + 1
            writer.write(GOOD)
            if b"Connection: close" in head:
                return

    report = await _run(tmp_path, count, requests=60)
    assert sum(requests_by_connection.values()) == report.requests
    assert list(requests_by_connection.values()).count(1) >= report.requests // 10
    assert max(requests_by_connection.values()) > 2


def _sticky_shop(seen: list[tuple[str, str | None]]) -> Server:
    """A shop that hands out a cookie at the first visit, and notes who came with which."""

    async def serve(_n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            seen.append((fields["X-User"], fields.get("Cookie")))
            first = b"" if "Cookie" in fields else b"Set-Cookie: id=%d; Path=/\r\n" % len(seen)
            version = b"stable" if first else b"canary"
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 200 OK\r\n" + first + b"X-Version: " + version + b"\r\nContent-Length: 0\r\n\r\n")
            if fields.get("Connection") == "close":
                return

    return serve


async def test_users_keep_their_cookies_and_have_one_request_under_way(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []
    report = await _run(tmp_path, _sticky_shop(seen), requests=60, users=12)
    assert report.dropped == {}
    names = {name for name, _ in seen}
    assert names <= {f"u{number}" for number in range(12)}
    cookies = {name: [cookie for who, cookie in seen if who == name] for name in names}
    assert all(mine[0] is None and None not in mine[1:] for mine in cookies.values())
    assert all(len(set(mine[1:])) <= 1 for mine in cookies.values())
    versions = json.loads((tmp_path / "load.users.json").read_text())
    assert versions.keys() == names
    assert all(each == ["stable", "canary"][: len(cookies[name])] for name, each in versions.items())


async def test_requests_for_which_no_user_is_free_are_skipped_not_lost(tmp_path: Path) -> None:
    report = await _run(tmp_path, _sticky_shop([]), requests=40, users=1)
    assert report.dropped == {}
    assert report.skipped_requests > 0


async def test_a_crowd_shows_no_cookies_and_leaves_no_file(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []
    await _run(tmp_path, _sticky_shop(seen))
    assert {cookie for _, cookie in seen} == {None}
    assert not (tmp_path / "load.users.json").exists()


@pytest.mark.parametrize(("status", "version"), [(503, None), (502, None), (504, None), (404, None)])
def test_what_the_proxy_says_itself_is_a_drop(status: int, version: None) -> None:
    tally = Tally(("stable", "canary"), "canary", now=100.0)
    tally.answered(Answer(status, version, keep=True), "reused", now=101.0)
    report = tally.report(102.0)
    assert report.dropped == {f"reused:proxy-{status}": 1}
    assert report.bad_responses == 0
    assert report.requests == 1


def test_what_the_shop_says_itself_is_bad_but_not_lost() -> None:
    tally = Tally(("stable", "canary"), "canary", now=100.0)
    for now in (101.5, 102.5, 103.5):
        tally.answered(Answer(503, "canary", keep=True), "reused", now)
    tally.answered(Answer(200, "stable", keep=True), "fresh", 104.5)
    report = tally.report(105.0)
    assert report.dropped_requests == 0
    assert (report.bad_responses, report.first_bad_at, report.last_bad_at) == (3, 101.5, 103.5)
    assert report.versions == {"stable": 1, "canary": 3}
    assert report.last_candidate_at == 103.5
    assert report.last_seconds[0] == (101, {"stable": 0, "canary": 1, "bad": 1, "dropped": 0})
    assert report.share("canary") == 0.75


def test_only_the_last_thirty_seconds_are_kept_one_by_one() -> None:
    tally = Tally(("stable", "canary"), "canary", now=0.0)
    for second in range(100):
        tally.answered(Answer(200, "canary" if second >= 90 else "stable", keep=True), "fresh", float(second))
    report = tally.report(99.5)
    assert [at for at, _ in report.last_seconds] == list(range(70, 100))
    assert report.versions == {"stable": 90, "canary": 10}
    assert report.share("canary", seconds=5) == 1.0
    assert report.share("canary") == 0.1
