"""A flag file, and applications that evaluate it: by OpenFeature's SDK in process, or by asking an evaluator."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import httpx
from aiohttp.test_utils import TestServer
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import AbstractProvider
from openfeature.provider.no_op_provider import NoOpProvider

from activities.flags.flagd import FlagdConnection, FlagdFlag
from activities.shared import Shared
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable, SluiceError, Throttled
from rollout.routes import FlagdRoute
from testbed.flags.ofrep import Evaluator, Fault
from tests.activities.flags.contract import USERS, MisleadingStand

Json = dict[str, Any]

KEY, OTHER = "new-checkout", "new-search"
STAFF = {"ends_with": [{"var": "email"}, "@example.com"]}
LOOK_EVERY_MS = 20


def flag_file() -> Json:
    """Two flags of ours among what else people keep in such files."""
    return {
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "metadata": {"flagSetId": "shop", "version": "v7"},
        "flags": {
            "banner": {
                "state": "ENABLED",
                "variants": {"red": "#f00", "blue": "#00f"},
                "defaultVariant": "red",
                "targeting": {"fractional": [{"var": "email"}, ["red", 50], ["blue", 50]]},
            },
            KEY: {
                "state": "ENABLED",
                "variants": {"off": False, "on": True},
                "defaultVariant": "off",
                "targeting": {"if": [{"$ref": "staff"}, "on", None]},
                "metadata": {"owner": "team-checkout", "ticket": 4711},
            },
            OTHER: {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"},
        },
        "$evaluators": {"staff": STAFF},
    }


class FlagdStand(MisleadingStand):
    """A folder with a flag file; applications evaluate it themselves."""

    us: ClassVar[str | None] = "sluice"
    troubles: ClassVar[Mapping[str, type[SluiceError]]] = {
        "missing": Misconfigured,
        "broken": Misconfigured,
        "empty": Misconfigured,
        "unwritable": RouterUnreachable,
        "unlockable": RouterUnreachable,
    }
    unreadable: ClassVar[frozenset[str]] = frozenset({"missing", "broken", "empty"})

    def __init__(self, folder: Path, shared: Shared) -> None:
        self.path = folder / "flags.json"
        self.put(flag_file())
        self.shared = shared
        self.connection = FlagdConnection(folder=folder)
        self._domain = str(uuid4())

    def made(self, **fields: Any) -> FlagdFlag:
        """An adapter for the flag, with other fields of the route."""
        route = FlagdRoute.model_validate({"connection": "flags-1", "key": KEY} | fields)
        return FlagdFlag(route, self.connection, self.shared)

    def flag(self) -> FlagdFlag:
        return self.made()

    def other_flag(self) -> FlagdFlag:
        return self.made(key=OTHER)

    def unknown_flag(self) -> FlagdFlag:
        return self.made(key="ghost-flag")

    def unknown_variation(self) -> FlagdFlag:
        return self.made(candidate="ghost")

    def provider(self) -> AbstractProvider:
        """What the applications have plugged into the SDK."""
        return FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(self.path), deadline_ms=LOOK_EVERY_MS
        )

    def plug(self) -> None:
        api.set_provider_and_wait(self.provider(), self._domain)

    def unplug(self) -> None:
        api.set_provider(NoOpProvider(), self._domain)

    async def served(self, keys: Sequence[str], *, other: bool = False) -> dict[str, str]:
        client, key = api.get_client(self._domain), OTHER if other else KEY

        def ask() -> dict[str, str]:
            found = {user: client.get_boolean_details(key, False, EvaluationContext(user)) for user in keys}
            return {user: str(each.variant) for user, each in found.items()}

        return await asyncio.to_thread(ask)

    async def written(self) -> object:
        found = self.path.stat()
        return self.path.read_bytes(), found.st_mtime_ns, found.st_ino

    async def rest(self) -> object:
        document = json.loads(self.path.read_bytes())
        for key in (KEY, OTHER):
            flag = document["flags"][key]
            flag["targeting"] = _bare(flag.get("targeting"))
            ours = {name: value for name, value in flag.pop("metadata", {}).items() if not name.startswith("sluice")}
            flag["metadata"] = ours
        return json.dumps(document, indent=1)

    async def drift(self, percent: float) -> None:
        def change(flag: Json) -> None:
            flag["targeting"] = {"fractional": [["on", round(percent)], ["off", round(100 - percent)]]}

        self.edit(change)

    async def switch(self, *, on: bool) -> None:
        def change(flag: Json) -> None:
            logic = flag.get("targeting")
            if isinstance(logic, dict) and logic.get("if", [None])[0] is False:
                logic = logic["if"][1]
            flag["targeting"] = logic if on else {"if": [False, logic, "off"]}

        self.edit(change)

    async def spoil(self) -> None:
        def change(flag: Json) -> None:
            flag["variants"] = {**flag["variants"], "blue": True}
            flag["targeting"] = {"fractional": [["on", 30], ["blue", 30], ["off", 40]]}

        self.edit(change)

    async def mislead(self) -> None:
        def change(flag: Json) -> None:
            flag["variants"] = {"disabled": False, "on": True}
            flag["defaultVariant"] = "on"

        self.edit(change)

    def trouble(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._troubled(name)

    @asynccontextmanager
    async def _troubled(self, name: str) -> AsyncIterator[None]:
        match name:
            case "missing":
                with self._moved_away():
                    yield
            case "broken" | "empty":
                with self._moved_away():
                    self.path.write_text('{"flags": {' if name == "broken" else "")
                    yield
            case "unwritable" | "unlockable":
                obstacle = self.path.with_name(".flags.json.new" if name == "unwritable" else "flags.json.lock")
                if obstacle.exists():
                    obstacle.unlink()
                obstacle.mkdir()
                yield
                obstacle.rmdir()
            case _:
                raise AssertionError(name)

    def edit(self, change: Callable[[Json], None], key: str = KEY) -> None:
        """A person edits the flag and saves the file."""
        document = json.loads(self.path.read_bytes())
        change(document["flags"][key])
        self.put(document)

    def put(self, document: Json) -> None:
        """Somebody replaces the file."""
        before = self.path.stat().st_mtime_ns if self.path.exists() else 0
        fresh = self.path.with_name("theirs")
        fresh.write_text(json.dumps(document))
        if fresh.stat().st_mtime_ns <= before:
            os.utime(fresh, ns=(before, before + 1_000_000))
        fresh.replace(self.path)

    def now(self) -> Json:
        """The flag as it is in the file."""
        found: Json = json.loads(self.path.read_bytes())["flags"][KEY]
        return found

    @contextmanager
    def _moved_away(self) -> Any:
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        try:
            yield
        finally:
            aside.replace(self.path)


class OfrepStand(FlagdStand):
    """The same, with an evaluator that applications and the adapter ask over OFREP."""

    within_s: ClassVar[float] = 30.0
    users: ClassVar[tuple[str, ...]] = USERS[:200]
    percents: ClassVar[tuple[float, ...]] = (0, 1, 50, 100, 0)
    faults: ClassVar[Mapping[str, Fault]] = {
        "away": Fault(status=503),
        "slow": Fault(slow_s=5),
        "forbidden": Fault(status=403),
        "busy": Fault(status=429),
    }
    troubles: ClassVar[Mapping[str, type[SluiceError]]] = {
        "away": RouterUnreachable,
        "slow": RouterUnreachable,
        "forbidden": NotPermitted,
        "busy": Throttled,
        "broken": Misconfigured,
    }
    off_works: ClassVar[frozenset[str]] = frozenset(faults)
    unreadable: ClassVar[frozenset[str]] = frozenset(troubles)

    def __init__(self, folder: Path, shared: Shared, evaluator: Evaluator, url: str) -> None:
        super().__init__(folder, shared)
        self.evaluator, self.url = evaluator, url
        self.connection = FlagdConnection(folder=folder, ofrep=url, timeout_s=10, applications_look_every_s=0)

    def provider(self) -> AbstractProvider:
        return OFREPProvider(self.url)

    def trouble(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._faulty(self.faults[name]) if name in self.faults else super().trouble(name)

    @asynccontextmanager
    async def _faulty(self, fault: Fault) -> AsyncIterator[None]:
        if fault.slow_s:
            self.connection = self.connection.model_copy(update={"timeout_s": 0.2})
        self.evaluator.fault = fault
        try:
            yield
        finally:
            self.evaluator.fault = replace(Fault())
            self.connection = self.connection.model_copy(update={"timeout_s": 10})


@asynccontextmanager
async def shared() -> AsyncIterator[Shared]:
    """What adapters share."""
    with ThreadPoolExecutor(4) as threads:
        async with httpx.AsyncClient(trust_env=False) as http:
            yield Shared(http, threads)


@asynccontextmanager
async def in_process(folder: Path) -> AsyncIterator[FlagdStand]:
    async with shared() as one:
        stand = FlagdStand(folder, one)
        stand.plug()
        yield stand
        stand.unplug()


@asynccontextmanager
async def over_ofrep(folder: Path) -> AsyncIterator[OfrepStand]:
    evaluator = Evaluator(folder / "flags.json")
    async with shared() as one, TestServer(evaluator.application()) as server:
        stand = OfrepStand(folder, one, evaluator, str(server.make_url("")).rstrip("/"))
        stand.plug()
        yield stand
        stand.unplug()


def _bare(logic: Any) -> Any:
    """A targeting without percent and switch."""
    match logic:
        case {"if": [False, within, "off"]}:
            return _bare(within)
        case {"if": [*rules, last]} if len(rules) % 2 == 0:
            return {"if": [*rules, _bare(last)]}
        case {"fractional": _}:
            return None
    return logic
