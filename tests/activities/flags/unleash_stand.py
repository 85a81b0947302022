"""A real Unleash for the contracts: reached through a gate, and asked by an application with the real SDK."""

import itertools
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from UnleashClient.clients.unleash_client import UnleashClient
from UnleashClient.connectors.polling_connector import PollingConnector

from activities.flags.unleash import UnleashConnection, UnleashFlag
from activities.shared import Shared
from rollout.errors import NotPermitted, RouterUnreachable, Throttled
from rollout.routes.flags import UnleashRoute
from testbed.flags.gate import Fault, Gate
from testbed.flags.unleash import ENVIRONMENT, Token, Unleash, gradual
from tests.activities.flags.contract import USERS, FlagStand

_NUMBERS = itertools.count(1)  # a flag's name is never free again
_VOLATILE = {"lastSeenAt", "yes", "no", "lifecycle", "createdAt", "collaborators"}
_MARK = re.compile(r" ?\[Sluice .*\]$")


def _writes(method: str, _: str) -> bool:
    return method != "GET"


FAULTS = {
    "hangs": Fault("hang"),
    "fails": Fault("answer", status=503),
    "is asked too often": Fault("answer", status=429, headers={"Retry-After": "2"}),
    "loses its answers": Fault("lose", when=_writes),
    "wants approval": Fault("answer", status=403, body=b'{"message":"need \\"SKIP_CHANGE_REQUEST\\""}', when=_writes),
}


@dataclass(frozen=True)
class UnleashHouse:
    """A server, who works with it, and an application.

    Attributes:
        server: the server.
        us: whose token Sluice has.
        client: the token with which applications ask.
        application: with the real SDK, which asks for changes every second.
    """

    server: Unleash
    us: Token
    client: Token
    application: UnleashClient


class UnleashStand(FlagStand):
    us: ClassVar[str | None] = "sluice"
    within_s: ClassVar[float] = 8.0
    users: ClassVar[tuple[str, ...]] = USERS[:500]
    troubles: ClassVar = {
        **dict.fromkeys(("hangs", "fails", "loses its answers"), RouterUnreachable),
        "is asked too often": Throttled,
        "token unknown": NotPermitted,
        "token of another kind": NotPermitted,
        "wants approval": NotPermitted,
    }
    unreadable: ClassVar = frozenset(troubles) - {"loses its answers", "wants approval"}

    def __init__(self, house: UnleashHouse, gate: Gate, shared: Shared, folder: Path) -> None:
        self.server, self.house, self.gate, self.shared = house.server, house, gate, shared
        number = next(_NUMBERS)
        self.key, self.other = f"new-checkout-{number}", f"new-search-{number}"
        self.secrets = (house.us.secret, house.client.secret, house.server.admin.secret)
        self.token_file, self.client_token_file = folder / "token", folder / "client-token"
        self.token_file.write_text(house.us.secret)
        self.client_token_file.write_text(house.client.secret)
        self._furnish(number)

    def _furnish(self, number: int) -> None:
        """Two flags, and around the share of each whatever Unleash knows."""
        away = [{"contextName": "planet", "operator": "NOT_IN", "values": ["mars"]}]
        segment = self.server.ask("POST", "/segments", {"name": f"not-venus-{number}", "constraints": away})["id"]
        colour = {"name": "blue", "weight": 1000, "weightType": "variable", "stickiness": "default"}
        fields = {"title": "Slowly", "constraints": away, "segments": [segment], "variants": [colour], "sortOrder": 1}
        unused = {"name": "default", "disabled": True, "sortOrder": 2, "title": "For the way out"}
        for name in (self.key, self.other):
            self.server.feature(name, [gradual(name, 0, **fields), unused])
        self.server.ask("POST", f"/features/{self.key}/tags", {"type": "simple", "value": "checkout"})
        abroad = self.server.place(self.key, "production")
        self.server.ask("POST", f"{abroad}/strategies", gradual(self.key, 50, title="Half of them"))

    @property
    def connection(self) -> UnleashConnection:
        return UnleashConnection(
            url=self.gate.url,
            token_file=self.token_file,
            client_token_file=self.client_token_file,
            refresh_s=1,
            timeout_s=2.5,
        )

    def made(self, **fields: Any) -> UnleashFlag:
        asked = {"key": self.key, "environment": ENVIRONMENT, **fields}
        return UnleashFlag(UnleashRoute(connection="flags", **asked), self.connection, self.shared)

    def flag(self) -> UnleashFlag:
        return self.made()

    def other_flag(self) -> UnleashFlag:
        return self.made(key=self.other)

    def unknown_flag(self) -> UnleashFlag:
        return self.made(key="ghost-flag")

    def unknown_variation(self) -> UnleashFlag:
        return self.made(candidate="ghost")

    async def served(self, keys: Sequence[str], *, other: bool = False) -> dict[str, str]:
        # It asks every second by itself; a test need not wait for that.
        connector = self.house.application.connector
        assert isinstance(connector, PollingConnector)
        connector._fetch_and_load()
        name = self.other if other else self.key
        given = {each: self.house.application.is_enabled(name, {"userId": each}) for each in keys}
        return {each: "on" if enabled else "off" for each, enabled in given.items()}

    async def written(self) -> object:
        """How often something was changed."""
        names = (self.key, self.other, "ghost-flag")
        return [self.server.ask("GET", f"/search/events?feature=IS:{name}&limit=1")["total"] for name in names]

    async def rest(self) -> object:
        return [_rest(self.server.ask("GET", f"/projects/default/features/{each}")) for each in (self.key, self.other)]

    async def drift(self, percent: float) -> None:
        self.hand(rollout=f"{percent:g}")
        await self.switch(on=True)

    async def switch(self, *, on: bool) -> None:
        self.server.switch(self.key, on=on)

    async def spoil(self) -> None:
        everybody = {"name": "default", "title": "Everybody"}
        self.server.ask("POST", f"{self.server.place(self.key)}/strategies", everybody)

    def hand(self, **parameters: str) -> None:
        """Somebody changes the parameters in the UI, which sends the whole strategy."""
        strategy = self.strategy()
        wanted = strategy | {"parameters": strategy["parameters"] | parameters}
        self.server.ask("PUT", f"{self.server.place(self.key)}/strategies/{strategy['id']}", wanted)

    def strategy(self) -> dict[str, Any]:
        """The strategy that carries the share."""
        feature = self.server.ask("GET", f"/projects/default/features/{self.key}")
        (here,) = [each for each in feature["environments"] if each["name"] == ENVIRONMENT]
        found: dict[str, Any] = next(each for each in here["strategies"] if not each["disabled"])
        return found

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        if name in FAULTS:
            with self.gate.fault(FAULTS[name]):
                yield
            return
        kinds = {"token unknown": "user:not-a-token-of-anybody", "token of another kind": self.house.client.secret}
        self.token_file.write_text(kinds[name])
        try:
            yield
        finally:
            self.token_file.write_text(self.house.us.secret)


def _rest(feature: dict[str, Any]) -> dict[str, Any]:
    """A flag without percent, switch and marks."""
    kept = {name: value for name, value in feature.items() if name not in _VOLATILE}
    kept["environments"] = [
        {name: value for name, value in each.items() if name not in _VOLATILE} for each in feature["environments"]
    ]
    for each in kept["environments"]:
        if each["name"] != ENVIRONMENT:
            continue
        del each["enabled"]
        each["strategies"] = [
            strategy
            | {
                "parameters": strategy["parameters"] | {"rollout": None},
                "title": _MARK.sub("", strategy["title"] or ""),
            }
            for strategy in each["strategies"]
        ]
    return kept
