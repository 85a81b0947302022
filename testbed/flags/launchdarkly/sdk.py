"""What SDKs and the relay ask: everything at once, and every change as it comes, over a stream that stays open."""

import asyncio
import contextlib
import json
from collections.abc import Mapping

from aiohttp import web

from testbed.flags.launchdarkly.account import Account
from testbed.flags.launchdarkly.faults import Faults
from testbed.flags.launchdarkly.shapes import Json, sdk_flag

_BEAT_S = 60.0  # a comment, so that neither side believes that the other is gone


class Sdk:
    """Handlers of the streaming and the polling endpoint of server-side SDKs."""

    def __init__(self, account: Account, faults: Faults) -> None:
        self._account, self._faults = account, faults
        self._streams: dict[asyncio.Queue[str], tuple[str, str]] = {}
        self._told: dict[tuple[str, str], Json] = {}  # project and flag → what SDKs were told last
        account.listeners.append(self._changed)

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [web.get("/all", self._stream), web.get("/sdk/latest-all", self._poll)]

    def freeze(self) -> None:
        """From now on SDKs are told what they would have been told until now."""
        self._told = dict(self._account.flags)
        self._faults.frozen = True

    def thaw(self) -> None:
        """Tell everybody how things really are."""
        self._faults.frozen = False
        for queue, place in self._streams.items():
            queue.put_nowait(_event("put", {"path": "/", "data": self._everything(*place)}))

    def hang_up(self) -> None:
        """End all streams; SDKs come back by themselves."""
        for queue in self._streams:
            queue.put_nowait("")

    def _changed(self, project: str, key: str) -> None:
        if self._faults.frozen:
            return
        for queue, (of, environment) in self._streams.items():
            if of == project:
                shown = sdk_flag(self._account.flags[project, key], environment)
                queue.put_nowait(_event("patch", {"path": f"/flags/{key}", "data": shown}))

    def _everything(self, project: str, environment: str) -> Json:
        flags: Mapping[tuple[str, str], Json] = self._told if self._faults.frozen else self._account.flags
        shown = {key: sdk_flag(each, environment) for (of, key), each in flags.items() if of == project}
        return {"flags": shown, "segments": {}}

    def _place(self, request: web.Request) -> tuple[str, str]:
        if self._faults.sdk_status:
            raise _status(self._faults.sdk_status)
        key = request.headers.get("Authorization", "")
        if key not in self._account.sdk_keys:
            raise web.HTTPUnauthorized
        return self._account.sdk_keys[key]

    async def _poll(self, request: web.Request) -> web.Response:
        return web.json_response(self._everything(*self._place(request)))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        place = self._place(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.enable_chunked_encoding()  # without it the SDK waits for the end of the stream
        await response.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue()
        queue.put_nowait(_event("put", {"path": "/", "data": self._everything(*place)}))
        self._streams[queue] = place
        try:
            while text := await _next(queue):
                await response.write(text.encode())
        except ConnectionError:
            pass  # the other side is gone
        finally:
            del self._streams[queue]
        return response


async def _next(queue: asyncio.Queue[str]) -> str:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_BEAT_S):
            return await queue.get()
    return ":\n"


def _event(name: str, data: Json) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _status(status: int) -> web.HTTPException:
    error = web.HTTPServiceUnavailable()
    error.set_status(status)
    return error
