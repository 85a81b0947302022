"""The HAProxy adapter and a socket that says what a test wants; recorded answers are of 2.6.12."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities import config_file
from activities.ports import Write
from activities.routers.haproxy import HaproxyConnection, HaproxyRouter
from activities.routers.haproxy.memory import Memory
from activities.routers.haproxy.socket import Command, HaproxySocket, command, replies, table
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable
from rollout.routes import ForcedHeader, HaproxyRoute

RECORDED = Path(__file__).parent / "haproxy"
OWNER = "rollout:prod/checkout"
ROUTE = HaproxyRoute(connection="edge-1", service="checkout", header=ForcedHeader())


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def write(percent: float, epoch: int = 7, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


def test_a_chain_of_answers_is_taken_apart() -> None:
    assert list(replies(recorded("chain.txt"))) == [
        "admin",
        "Can't find backend.",
        "",
        "No such server.",
        "Unknown map identifier. Please use #<id> or <file>.",
        "2.6.12-1+deb12u4",
    ]
    assert table("Can't find backend.") is None
    assert table("No such proxy.") is None
    with pytest.raises(ValueError, match="Unknown command"):
        table("Unknown command")


@asynccontextmanager
async def answering(folder: Path, answer: Callable[[str], str]) -> AsyncIterator[HaproxySocket]:
    """A socket that answers each line, up to the empty one of a payload, with some text."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        if line.endswith(" <<\n"):
            while (more := await reader.readline()) != b"\n":
                line += more.decode()
        writer.write(answer(line).encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    path = str(folder / "s")
    server = await asyncio.start_unix_server(take, path)
    try:
        yield HaproxySocket(path, 1, "haproxy edge-1/checkout")
    finally:
        server.close()
        await server.wait_closed()


async def test_a_chain_is_one_line_and_a_payload_ends_with_an_empty_one(tmp_path: Path) -> None:
    lines: list[str] = []

    def taken(line: str) -> str:
        lines.append(line)
        return "\n" * (line.partition("<<")[0].count(";") + 1)

    async with answering(tmp_path, taken) as socket:
        await socket.do(command("one"), command("two"))
        await socket.do(command("add", "map", "@1", "/m"), payload="a 1\nb 2; c\n")
    assert lines == ["one; two\n", "add map @1 /m <<\na 1\nb 2; c\n"]


async def test_many_commands_go_in_lines_that_fit_into_haproxys_buffer(tmp_path: Path) -> None:
    lines: list[str] = []

    def taken(line: str) -> str:
        lines.append(line.strip())
        return "\n" * (line.count(";") + 1)

    commands = [command("set", "server", f"backend/{'x' * 60}-{number}", "weight", "1") for number in range(300)]
    async with answering(tmp_path, taken) as socket:
        await Memory(socket, tmp_path / "m", (), ROUTE).do(commands)
    assert "; ".join(lines).split("; ") == commands
    assert len(lines) > 1
    assert max(map(len, lines)) < 8_192


@pytest.mark.parametrize("word", ["a; b", "a;b", "a\\b", "a\nb", "a\tb", "<<", "a b", "a<<b", "a\x00", ""])
async def test_a_word_that_haproxy_would_take_for_more_is_never_sent(tmp_path: Path, word: str) -> None:
    lines: list[str] = []

    def taken(line: str) -> str:
        lines.append(line)
        return "\n"

    with pytest.raises(Misconfigured, match="HAProxy's commands cannot name"):
        command("show", "map", word)
    async with answering(tmp_path, taken) as socket:
        if word not in {"", "a b"}:  # two words are no other command
            with pytest.raises(Misconfigured, match=r"haproxy edge-1/checkout: .* nothing was sent"):
                await socket.ask(command("one"), Command(f"show map {word}"))
        assert lines == []
        await socket.do(command("one"))
    assert lines == ["one\n"]


@pytest.mark.parametrize(("uptime", "young"), [("0", True), ("60", True), ("61", False), ("?", True)])
async def test_only_a_process_older_than_any_before_it_can_say_what_is_in_flight(
    tmp_path: Path, uptime: str, young: bool
) -> None:
    async with answering(tmp_path, lambda _: f"Name: HAProxy\nUptime: 1\nUptime_sec: {uptime}\nx: 1\n\n") as socket:
        memory = Memory(socket, tmp_path / "m", (), ROUTE)
        with pytest.raises(RouterUnreachable, match="run") if young else nullcontext():
            await memory.refuse_young(timedelta(seconds=60))
        await memory.refuse_young(timedelta(0))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ("No such server.\n\n\n", Misconfigured, "answers 'one' with 'No such server.'"),
        ("\nPermission denied\n\n", NotPermitted, "forbids 'two' .* needs `level admin`"),
        ("\n", RouterUnreachable, "1 answers to 2 commands"),
        ("", RouterUnreachable, "0 answers to 2 commands"),
    ],
)
async def test_an_answer_that_is_no_success_has_the_right_name(
    tmp_path: Path, answer: str, error: type[Exception], words: str
) -> None:
    async with answering(tmp_path, lambda _: answer) as socket:
        with pytest.raises(error, match=words) as raised:
            await socket.do(command("one"), command("two"))
    assert "haproxy edge-1/checkout" in str(raised.value)


async def test_a_socket_that_nobody_serves_is_unreachable(tmp_path: Path) -> None:
    for address in (str(tmp_path / "none"), "127.0.0.1:1"):
        with pytest.raises(RouterUnreachable, match="no answer from HAProxy's socket"):
            await HaproxySocket(address, 1, "route").ask(command("show", "info"))


async def test_an_answer_that_is_not_understood_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "checkout.map").write_text("header X-Canary\nweight 0\n")
    async with answering(tmp_path, lambda _: "admin\n\n0x1 weight 0\n\nwhat\n\nwhat\n\n") as socket:
        router = HaproxyRouter(ROUTE, HaproxyConnection(socket=str(socket), folder=tmp_path))
        with pytest.raises(RouterUnreachable, match="HAProxy's answer is not understood"):
            await router.read()


async def test_an_old_haproxy_that_replaces_no_map_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkout.map").write_text("header X-Canary\nweight 0\n")

    def old(line: str) -> str:
        return "Unknown command\n\n" if "prepare" in line else f"admin\n\n0x1 weight 0\n\n{STATE}{STATE}"

    async with answering(tmp_path, old) as socket:
        router = HaproxyRouter(ROUTE, HaproxyConnection(socket=str(socket), folder=tmp_path))
        with pytest.raises(Misconfigured, match=r"2\.4 is the oldest"):
            await router.write(write(5))
    assert (tmp_path / "checkout.map").read_text() == "header X-Canary\nweight 0\n"


STATE = "1\n# srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\na 2 0 1 1\n\n"


async def test_a_reload_in_the_middle_of_a_raise_is_undone_and_worth_trying_again(tmp_path: Path) -> None:
    (tmp_path / "checkout.map").write_text("header X-Canary\nweight 0\n")
    answers = {
        "show cli level": f"admin\n\n0x1 header X-Canary\n0x2 weight 0\n\n{STATE}{STATE}",
        "prepare": "New version created: 3\n\n",
        "commit": "Version number out of range.\n\n",
    }
    written: list[str] = []

    def reloaded(line: str) -> str:
        if line.startswith("commit"):
            written.append((tmp_path / "checkout.map").read_text())
        return next((answer for start, answer in answers.items() if line.startswith(start)), "\n")

    async with answering(tmp_path, reloaded) as socket:
        router = HaproxyRouter(ROUTE, HaproxyConnection(socket=str(socket), folder=tmp_path))
        with pytest.raises(RouterUnreachable, match="HAProxy was reloaded in the middle"):
            await router.write(write(5))
    assert "weight 500" in written[0]
    assert (tmp_path / "checkout.map").read_text() == "header X-Canary\nweight 0\n"


async def test_users_leave_the_candidate_before_any_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "checkout.map"
    file.write_text("header X-Canary\nweight 500\n")
    moments: list[str] = []

    def taken(line: str) -> str:
        if line.startswith("show"):
            now = "weight 0\n0x3 epoch 7" if moments else "weight 500"
            return f"admin\n\n0x1 header X-Canary\n0x2 {now}\n\n{STATE}{STATE}"
        if line.startswith("commit"):
            moments.append(file.read_text())
        return "New version created: 3\n\n" if line.startswith("prepare") else "\n"

    async with answering(tmp_path, taken) as socket:
        router = HaproxyRouter(ROUTE, HaproxyConnection(socket=str(socket), folder=tmp_path))
        await router.write(write(0, header=False, release=True))
    assert moments == ["header X-Canary\nweight 500\n"]
    assert file.read_text() == "header X-Canary\nweight 0\nepoch 7\n"


async def test_the_way_back_waits_for_another_writer_and_never_writes_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_file, "_LOCK_S", 0.1)
    (tmp_path / "checkout.map").write_text("header X-Canary\nweight 500\n")
    lines: list[str] = []

    def counted(line: str) -> str:
        lines.append(line)
        return "\n"

    async with answering(tmp_path, counted) as socket, config_file.ConfigFile(tmp_path / "checkout.map").alone():
        router = HaproxyRouter(ROUTE, HaproxyConnection(socket=str(socket), folder=tmp_path))
        with pytest.raises(RouterUnreachable, match="another process has been editing"):
            await router.write(write(0))
    assert lines == []


@pytest.mark.parametrize("socket", ["admin.sock", "127.0.0.1", "user@host:1", "http://host", "host:port"])
def test_a_socket_is_a_path_or_host_and_port(socket: str) -> None:
    with pytest.raises(ValueError, match="socket"):
        HaproxyConnection(socket=socket, folder=Path())


@pytest.mark.parametrize("folder", ["/etc/my maps", "/etc/a;b", "/etc/a\\b"])
def test_a_folder_is_one_word_of_haproxys_commands(folder: str) -> None:
    with pytest.raises(ValueError, match="without blanks"):
        HaproxyConnection(socket="/s", folder=Path(folder))
