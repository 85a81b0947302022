"""The stand-in over HTTP, in the event loop of a test: one address for the REST API, for SDKs and for its knobs.

In a test the knobs are attributes; a stand-in in a process of its own has them at `/-/`.
"""

import contextlib
import dataclasses
from typing import Any, Self

from aiohttp import web

from testbed.flags.launchdarkly.account import Account
from testbed.flags.launchdarkly.faults import Faults
from testbed.flags.launchdarkly.rest import Rest
from testbed.flags.launchdarkly.sdk import Sdk
from testbed.processes import LOOPBACK, free_ports

_SETTABLE = {field.name for field in dataclasses.fields(Faults)} - {"before_patch", "frozen"}


class Server:
    """A running stand-in.

    Attributes:
        account: what it keeps.
        faults: what is wrong with it.
        rest: its REST API.
        sdk: what SDKs ask.
        port: where it listens, also after it was down.
        url: the same as an address, without a slash at the end.
    """

    def __init__(self, account: Account | None = None, port: int | None = None) -> None:
        self.account, self.faults = account or Account(), Faults()
        self.rest, self.sdk = Rest(self.account, self.faults), Sdk(self.account, self.faults)
        self.port = port or free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._runner: web.AppRunner | None = None

    def heal(self) -> None:
        """Nothing is wrong any more."""
        for name, value in dataclasses.asdict(Faults()).items():
            if name != "frozen":
                setattr(self.faults, name, value)
        if self.faults.frozen:
            self.sdk.thaw()

    async def up(self) -> None:
        """Listen; again, after it was down."""
        app = web.Application()
        app.add_routes([*self.rest.routes(), *self.sdk.routes(), web.get("/-/ready", self._ready)])
        app.add_routes([web.post("/-/faults", self._set_faults), web.post("/-/release", self._release)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port, reuse_address=True).start()

    async def down(self) -> None:
        """Close every connection and listen no more; what it keeps, it keeps."""
        if self._runner is not None:
            self.sdk.hang_up()
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):
            await self.down()

    async def _ready(self, _: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def _set_faults(self, request: web.Request) -> web.Response:
        """Set knobs by name; an empty object heals everything."""
        wanted: dict[str, Any] = await request.json()
        if unknown := wanted.keys() - _SETTABLE - {"frozen"}:
            return web.json_response({"error": f"no such fault: {', '.join(sorted(unknown))}"}, status=400)
        self.heal()
        if wanted.pop("frozen", False):
            self.sdk.freeze()
        for name, value in wanted.items():
            setattr(self.faults, name, frozenset(value) if name == "methods" else value)
        return web.json_response({"set": sorted(wanted)})

    async def _release(self, request: web.Request) -> web.Response:
        """Start a release of LaunchDarkly's own: project, flag, environment, kind, weights."""
        asked = await request.json()
        self.account.release(asked["project"], asked["flag"], asked["environment"], asked["kind"], asked["weights"])
        return web.json_response({"started": asked["kind"]})
