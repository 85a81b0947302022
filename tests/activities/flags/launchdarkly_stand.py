"""The stand-in for LaunchDarkly in the loop of a test, and an application with LaunchDarkly's own SDK."""

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx
from ldclient import Context, LDClient
from ldclient.config import Config

from activities.flags.launchdarkly import LaunchDarklyConnection, LaunchDarklyFlag
from activities.flags.launchdarkly.patches import OFF
from activities.shared import Shared
from rollout.errors import Misconfigured, NotPermitted, RouteRejected, RouterUnreachable, Throttled
from rollout.routes import LaunchDarklyRoute
from testbed.flags.launchdarkly import Account, Caller, Server, flag
from tests.activities.flags.contract import MisleadingStand

TOKEN, PERSON, READER = "api-11111111-sluice", "api-22222222-ann", "api-33333333-reader"
SDK_KEY, OTHER_SDK_KEY = "sdk-44444444-production", "sdk-55555555-staging"
SECRETS = (TOKEN, PERSON, READER, SDK_KEY, OTHER_SDK_KEY)
NEW, OLD = "new-checkout", "new-search"
PLACE = ("web", "production")
_FAULTS: dict[str, dict[str, Any]] = {
    "slow": {"slow_s": 1.2},
    "answered too late": {"slow_after_s": 1.2},
    "5xx": {"status": 503},
    "captive portal": {"garbled": True},
    "refused": {"status": 422, "methods": frozenset({"PATCH"})},
    "asked too often": {"status": 429, "window_s": 0.2},
    "flag is gone": {"status": 404},
}
_TOKENS = {"no token": "", "wrong token": "api-00000000-wrong", "token may only read": READER}


def account() -> Account:
    """Two flags, each with a rule, a target, tags and custom properties of other people."""
    made = Account()
    made.tokens = {
        TOKEN: Caller("sluice"),
        PERSON: Caller("cli", email="ann.lee@example.com"),
        READER: Caller("reader", writes=False),
    }
    made.sdk_keys = {SDK_KEY: PLACE, OTHER_SDK_KEY: ("web", "staging")}
    for key in (NEW, OLD):
        made.flags["web", key] = one = flag("web", key, ["production", "staging"], names=["on", "off"])
        on = one["variations"][0]["_id"]
        clause = {"contextKind": "user", "attribute": "email", "op": "endsWith", "values": ["@example.com"]}
        rule = {"kind": "addRule", "clauses": [{**clause, "negate": False}], "variationId": on}
        target = {"kind": "addTargets", "values": ["ann"], "variationId": on}
        note = {"kind": "addCustomProperties", "key": "jira.issues", "name": "Jira issues", "values": ["WEB-7"]}
        made.patch(PERSON, "web", key, {"environmentKey": "production", "instructions": [rule, target, note]})
    return made


class LaunchDarklyStand(MisleadingStand):
    """A stand-in, an adapter that proves with the SDK, and an application with another SDK."""

    us: ClassVar[str | None] = "sluice"
    secrets = SECRETS
    troubles: ClassVar = {
        "down": RouterUnreachable,
        "slow": RouterUnreachable,
        "answered too late": RouterUnreachable,
        "5xx": RouterUnreachable,
        "captive portal": RouterUnreachable,
        "no token": RouterUnreachable,
        "wrong token": NotPermitted,
        "token may only read": NotPermitted,
        "approval required": NotPermitted,
        "refused": RouteRejected,
        "asked too often": Throttled,
        "flag is gone": Misconfigured,
        "a change is planned": RouteRejected,
        "guarded rollout": Misconfigured,
    }
    off_works: ClassVar = frozenset({"a change is planned", "guarded rollout"})
    unreadable: ClassVar = frozenset(troubles) - off_works - {"token may only read", "approval required", "refused"}

    def __init__(self, folder: Path, server: Server, shared: Shared) -> None:
        self.server, self.shared, self.account = server, shared, server.account
        self.token_file, self.sdk_key_file = folder / "ld-token", folder / "ld-sdk-key"
        self.token_file.write_text(f"{TOKEN}\n", encoding="ascii")
        self.sdk_key_file.write_text(f"{SDK_KEY}\n", encoding="ascii")
        self._app: LDClient | None = None

    @classmethod
    @asynccontextmanager
    async def standing(cls, folder: Path) -> AsyncIterator[Self]:
        """One that is up, with all that it needs."""
        with ThreadPoolExecutor(4, "flag") as threads:
            async with Server(account()) as server, httpx.AsyncClient(trust_env=False) as http:
                shared = Shared(http, threads)
                stand = cls(folder, server, shared)
                try:
                    yield stand
                finally:
                    await shared.aclose()
                    await asyncio.to_thread(stand.close)

    def close(self) -> None:
        """End the application. The SDK leaves idle connections to the garbage collector, which then has a word."""
        app, self._app = self._app, None
        if app is not None:
            app.close()  # type: ignore[no-untyped-call]  # typed, but only in part
        del app
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    @property
    def sdk_url(self) -> str:
        """Where SDKs ask."""
        return self.server.url

    @property
    def connection(self) -> LaunchDarklyConnection:
        return LaunchDarklyConnection(
            url=self.server.url,
            token_file=self.token_file,
            sdk_key_file=self.sdk_key_file,
            stream_url=self.sdk_url,
            base_url=self.sdk_url,
            timeout_s=0.8,
        )

    def made(self, connection: LaunchDarklyConnection | None = None, **fields: Any) -> LaunchDarklyFlag:
        asked = {"key": NEW, "project": "web", "environment": "production", "candidate": "on", "stable": "off"}
        route = LaunchDarklyRoute(connection="ld", **{**asked, **fields})
        return LaunchDarklyFlag(route, connection or self.connection, self.shared)

    def flag(self) -> LaunchDarklyFlag:
        return self.made()

    def other_flag(self) -> LaunchDarklyFlag:
        return self.made(key=OLD)

    def unknown_flag(self) -> LaunchDarklyFlag:
        return self.made(key="ghost-flag")

    def unknown_variation(self) -> LaunchDarklyFlag:
        return self.made(candidate="ghost")

    async def served(self, keys: Sequence[str], *, other: bool = False) -> dict[str, str]:
        return await asyncio.to_thread(self._served, keys, OLD if other else NEW)

    def _served(self, keys: Sequence[str], flag_key: str) -> dict[str, str]:
        if self._app is None:
            at = self.sdk_url
            config = Config(SDK_KEY, stream_uri=at, base_uri=at, send_events=False, initial_reconnect_delay=0.1)
            self._app = LDClient(config, start_wait=5)
        value = {True: "on", False: "off", None: "nothing"}
        return {key: value[self._app.variation(flag_key, Context.create(key), None)] for key in keys}

    async def written(self) -> object:
        return self.account.patches

    async def rest(self) -> object:
        shown = json.loads(json.dumps(sorted(self.account.flags.items())))
        for _, one in shown:
            for each in list(one["customProperties"]):
                if each.startswith("sluice."):
                    del one["customProperties"][each]
            del one["_version"], one["environments"]["production"]["fallthrough"]
            for name in ("on", "version", "lastModified"):
                del one["environments"]["production"][name]
        return shown

    def patch(self, *instructions: dict[str, Any], key: str = NEW, token: str = PERSON) -> None:
        """Somebody changes a flag in production."""
        body = {"environmentKey": "production", "comment": "by hand", "instructions": list(instructions)}
        self.account.patch(token, "web", key, body)

    def share(self, percent: float) -> dict[str, Any]:
        """The instruction that gives a percent to the candidate."""
        on, off = (each["_id"] for each in self.account.flags["web", NEW]["variations"])
        weights = {on: round(percent * 1000), off: 100_000 - round(percent * 1000)}
        return {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": weights}

    async def drift(self, percent: float) -> None:
        self.patch(self.share(percent), {"kind": "turnFlagOn"})

    async def switch(self, *, on: bool) -> None:
        self.patch(*([{"kind": "turnFlagOn"}] if on else OFF))

    async def spoil(self) -> None:
        self.account.release("web", NEW, "production", "measuredRollout", (5000, 95000))

    async def mislead(self) -> None:
        on = self.account.flags["web", NEW]["variations"][0]["_id"]
        self.patch({"kind": "updateOffVariation", "variationId": on})

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        for knob, value in _FAULTS.get(name, {}).items():
            setattr(self.server.faults, knob, value)
        self.token_file.write_text(_TOKENS.get(name, TOKEN), encoding="ascii")
        if name == "approval required":
            self.account.approvals.add(PLACE)
        elif name == "a change is planned":
            self.account.pending["web", NEW, "production"] = frozenset({"updateFallthroughVariationOrRollout"})
        elif name == "guarded rollout":
            self.account.release("web", NEW, "production", "measuredRollout", (5000, 95000))
        elif name == "down":
            await self.server.down()
        try:
            yield
        finally:
            self.server.heal()
            self.token_file.write_text(TOKEN, encoding="ascii")
            self.account.approvals.clear()
            self.account.pending.clear()
            if name == "guarded rollout":
                self.account.end_release("web", NEW, "production")
            elif name == "down":
                await self.server.up()
