"""A server that tells everybody what they sent, token and all: in bodies, headers, and where HTTP has no place for it.

While nothing is wrong it is what its path says: `/launchdarkly/…` hands requests to a stand-in, `/unleash/…` is an
Unleash with any flag that is asked for, `/prometheus/…` knows one metric. Written by hand, because no HTTP library
sends such answers.
"""

import asyncio
import json
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs

import httpx

from testbed.processes import LOOPBACK, free_ports

_FLAG = re.compile(r"/features/([^/?]+)")
_SERVICE = re.compile(r'service="([^"]+)"')
_NAMES = re.compile(r'__name__=~"([^"]+)"')
_HANDED_ON = ("authorization", "content-type", "ld-api-version")

Shape = Literal["json", "late", "text", "events", "raw", "header", "hang", "cut"]


class Asked(NamedTuple):
    """One request; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    @property
    def told(self) -> str:
        """The request as a sentence, what is secret first."""
        headers = ", ".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.authorization} was sent with {self.method} {self.path} ({headers}) {self.body.decode()}"


@dataclass(frozen=True)
class Trouble:
    """What is wrong where a part of the path is the trouble's name.

    Attributes:
        shape: json: fields as of all three services' errors. late: the same, the token begins shortly before the 200th
            character. text: a page, whose type is told too. events: a stream of events. raw: no HTTP at all. header: a
            header without a name. hang, cut: no answer.
        status: of the first three.
        only: what method and path must contain.
    """

    shape: Shape = "json"
    status: int = 500
    only: str = ""

    def answer(self, asked: Asked) -> bytes:
        """The whole answer."""
        secret, told = asked.authorization, asked.told
        match self.shape:
            case "raw":
                return f"{secret} is what I was sent\r\n\r\n".encode()
            case "header":
                return f"HTTP/1.1 200 OK\r\n{secret} has no colon behind it\r\n\r\n{told}".encode()
            case "events":
                return reply(200, f"event: {secret}\ndata: {secret}\n\n".encode(), "text/event-stream")
            case "text":
                return reply(self.status, told.encode(), f"text/{secret.replace(' ', '-')}", secret)
            case _:
                said = "x" * 185 + told if self.shape == "late" else told
                bare = secret.removeprefix("Bearer ")
                body: dict[str, Any] = {"code": bare, "message": said, "name": bare, "id": bare, "status": "error"}
                body |= {"errorType": "bad_data", "error": said, "warnings": [said], "details": [{"message": said}]}
                return reply(self.status, json.dumps(body).encode(), "application/json", secret)


def reply(status: int, body: bytes, kind: str = "application/json", echo: str = "") -> bytes:
    """An answer of HTTP; what is echoed is in its status line and its headers too."""
    head = f"HTTP/1.1 {status} {echo or 'So'}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    if echo:
        named = ("WWW-Authenticate", "X-Echo", "Location", "Retry-After", "ETag")
        head += "".join(f"{name}: {echo}\r\n" for name in named)
    return f"{head}Connection: close\r\n\r\n".encode() + body


class Echo:
    """The server; a context manager.

    Attributes:
        url: its address.
        troubles: what is wrong, by a part of the path.
        told: what a trouble was sent as Authorization, and sent back.
        bad: services whose error ratio is 50 %.
    """

    def __init__(self, launchdarkly: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.troubles: dict[str, Trouble] = {}
        self.told: defaultdict[str, set[str]] = defaultdict(set)
        self.bad: set[str] = set()
        self._off: set[str] = set()
        self._upstream = httpx.AsyncClient(base_url=launchdarkly, trust_env=False, timeout=10)
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for each in tuple(self._open):
            each.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._upstream.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                writer.write(await self._answer(await _read(reader), reader))
                await writer.drain()
        finally:
            writer.close()
            self._open.discard(task)

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader) -> bytes:
        parts = asked.path.partition("?")[0].split("/")
        for name in self.troubles.keys() & set(parts):
            trouble = self.troubles[name]
            if trouble.only in f"{asked.method} {asked.path}":
                self.told[name].add(asked.authorization)
                if trouble.shape == "hang":
                    await reader.read()  # until the other side gives up
                return b"" if trouble.shape in {"hang", "cut"} else trouble.answer(asked)
        match parts[1]:
            case "launchdarkly":
                return await self._hand_on(asked)
            case "unleash":
                return self._unleash(asked)
            case "prometheus":
                return self._prometheus(asked)
            case other:
                raise AssertionError(other)

    async def _hand_on(self, asked: Asked) -> bytes:
        headers = {name: asked.headers[name] for name in _HANDED_ON if name in asked.headers}
        path = "/" + asked.path.split("/", 3)[3]
        answer = await self._upstream.request(asked.method, path, headers=headers, content=asked.body)
        return reply(answer.status_code, answer.content)

    def _unleash(self, asked: Asked) -> bytes:
        keys = _FLAG.findall(asked.path)
        if asked.method == "POST" and asked.path.endswith("/off"):
            self._off.update(keys)
            return reply(200, b"")
        parameters = {"rollout": "100", "stickiness": "default", "groupId": "shop"}
        strategy = {"id": "one", "name": "flexibleRollout", "parameters": parameters, "constraints": []}
        if keys:
            here = {"name": "production", "enabled": keys[0] not in self._off, "strategies": [strategy]}
            return reply(200, json.dumps({"name": keys[0], "environments": [here]}).encode())
        if "/api/client/features" in asked.path:
            key = asked.path.split("/")[2]  # the connection is called as its only flag
            feature = {"name": key, "type": "release", "enabled": key not in self._off, "strategies": [strategy]}
            return reply(200, json.dumps({"version": 2, "features": [feature], "segments": []}).encode())
        return reply(404, b"{}")

    def _prometheus(self, asked: Asked) -> bytes:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if names := _NAMES.search(form["query"]):
            found: list[Any] = [{"metric": {"__name__": name}, "value": [0, "1"]} for name in names[1].split("|")]
            return _success("vector", found)
        service = _SERVICE.search(form["query"])
        assert service
        value = "0.5" if service[1] in self.bad else "0"
        first, last = (round(float(form[name]) * 1000) for name in ("start", "end"))
        times = range(first, last + 1, int(form["step"].removesuffix("ms")))
        return _success("matrix", [{"metric": {"pod": "a"}, "values": [[at / 1000, value] for at in times]}])


def _success(kind: str, result: list[Any]) -> bytes:
    return reply(200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode())


async def _read(reader: asyncio.StreamReader) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
