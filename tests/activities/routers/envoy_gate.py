"""What may stand between a worker and an Envoy: a gate before the admin interface, a folder nobody may write in."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from testbed.processes import LOOPBACK

NOBODY = 65534


def client() -> httpx.AsyncClient:
    """A client that keeps no connection: behind the gate, one to an Envoy that has stopped lives a moment longer."""
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


class Gate:
    """Stands between the worker and Envoy's admin interface, as a firewall or a proxy may."""

    def __init__(self, behind: str) -> None:
        self._behind = urlsplit(behind)
        self._lets = "pass"
        self._open: set[asyncio.StreamWriter] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self.url = ""

    @asynccontextmanager
    async def standing(self) -> AsyncIterator["Gate"]:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self
            server.close()
            self._drop()
            if self._busy:
                await asyncio.wait(self._busy)

    @contextmanager
    def letting(self, what: str) -> Iterator[None]:
        """For a while, answer nothing ("hanging") or 403 to everything ("closed")."""
        self._lets = what
        self._drop()
        try:
            yield
        finally:
            self._lets = "pass"
            self._drop()

    def _drop(self) -> None:
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            with suppress(OSError):
                await self._answer(reader, writer)
        finally:
            self._busy.discard(task)
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self._lets:
            case "hanging":
                await reader.read()  # to the end, which is when the other side has given up
            case "closed":
                with suppress(asyncio.IncompleteReadError):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    await writer.drain()
            case "pass":
                there, back = await asyncio.open_connection(self._behind.hostname, self._behind.port)
                self._open.add(back)
                try:
                    await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
                finally:
                    self._open.discard(back)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write there; for root, who always may, this process is somebody else meanwhile."""
    mode, user = folder.stat().st_mode, os.geteuid()
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(mode)
