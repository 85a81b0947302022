"""A real Unleash on loopback with a real PostgreSQL behind it, and what people do in its UI, through its admin API.

The server is slow to start (5 s: it loads its modules and migrates its database), so one serves all tests; flags and
environments are cheap. Measured on 8.2.0: a change shows in what applications ask for after a second, since the server
looks that often which revision is the newest.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import httpx

from testbed.flags.postgresql import DATABASE, USER, Postgresql
from testbed.part import Part, answers
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENVIRONMENT = "development"
PROJECT = "default"
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Token:
    """A token of the server.

    Attributes:
        name: What the log of changes calls it.
        secret: The token itself.
    """

    name: str
    secret: str


class Unleash(Part):
    """One server and its database.

    Attributes:
        url: Its address, without a slash at the end.
        database: Its database, a part of its own: it can be away while the server is there.
        admin: A token that may do everything.
    """

    ready_within_s: ClassVar[float] = 60.0

    def __init__(self, directory: Path) -> None:
        """Choose ports and the first token; nothing is started.

        Args:
            directory: Where the data and the logs go.
        """
        super().__init__("unleash", directory)
        self.database = Postgresql(directory)
        self._port = free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self._port}"
        self.admin = Token("admin", f"*:*.{secrets.token_hex(24)}")
        # Nothing is kept open, so a server that was killed and came back is no surprise.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=f"{self.url}/api/admin", trust_env=False, timeout=_TIMEOUT_S, limits=limits)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in the order of starting."""
        return (self.database, self)

    def prepare(self) -> None:
        """See to it that the database is there."""
        if not self.database.running:
            self.database.start()

    def command(self) -> list[str | Path]:
        """The server's command line."""
        return [binary("unleash")]

    def environment(self) -> Mapping[str, str | None]:
        """Everything that it is told; it asks nobody outside for anything."""
        return {
            "DATABASE_URL": None,
            "DATABASE_HOST": LOOPBACK,
            "DATABASE_PORT": str(self.database.port),
            "DATABASE_NAME": DATABASE,
            "DATABASE_USERNAME": USER,
            "DATABASE_PASSWORD": "none",  # everybody on loopback is let in, but it wants one
            "DATABASE_SSL": "false",
            "HTTP_HOST": LOOPBACK,
            "HTTP_PORT": str(self._port),
            "UNLEASH_URL": self.url,
            "INIT_ADMIN_API_TOKENS": self.admin.secret,
            "CHECK_VERSION": "false",
            "SEND_TELEMETRY": "false",
            "LOG_LEVEL": "warn",
            "NODE_ENV": "production",
        }

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/health")

    def stop(self) -> None:
        """End the server, then its database."""
        super().stop()
        self.database.stop()

    def ask(self, method: str, path: str, body: Any = None, *, token: Token | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the admin API, as its UI does for people.

        Args:
            method: HTTP's.
            path: Behind `/api/admin`.
            body: JSON to send.
            token: On whose behalf; the first token by default.

        Returns:
            The decoded answer, None if it is empty.

        Raises:
            httpx.HTTPError: It refuses, or does not answer.
        """
        headers = {"Authorization": (token or self.admin).secret}
        answer = self._http.request(method, path, json=body, headers=headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def client_token(self, environment: str = ENVIRONMENT) -> Token:
        """A token with which applications ask for the flags of an environment."""
        wanted = {"tokenName": f"application-{environment}", "type": "backend", "environment": environment}
        return Token(wanted["tokenName"], self.ask("POST", "/api-tokens", wanted | {"projects": ["*"]})["secret"])

    def person(self, name: str, role: Literal["Admin", "Editor", "Viewer"] = "Editor") -> Token:
        """A new user's personal access token; admin tokens cannot be made over the API."""
        password = secrets.token_urlsafe(24)
        roles = {"Admin": 1, "Editor": 2, "Viewer": 3}
        user = {"username": name, "password": password, "rootRole": roles[role], "sendEmail": False}
        self.ask("POST", "/user-admin", user)
        with httpx.Client(base_url=self.url, trust_env=False, timeout=_TIMEOUT_S) as browser:
            browser.post("/auth/simple/login", json={"username": name, "password": password}).raise_for_status()
            wanted = {"description": "for tests", "expiresAt": "2099-01-01T00:00:00Z"}
            made = browser.post("/api/admin/user/tokens", json=wanted).raise_for_status()
        return Token(name, made.json()["secret"])

    def feature(self, name: str, strategies: Sequence[Mapping[str, Any]], environment: str = ENVIRONMENT) -> None:
        """Make a flag with these strategies, switched on in an environment.

        Args:
            name: Its key.
            strategies: As the admin API takes them.
            environment: Where.
        """
        self.ask("POST", f"/projects/{PROJECT}/features", {"name": name, "type": "release"})
        for each in strategies:
            self.ask("POST", f"{self.place(name, environment)}/strategies", each)
        self.switch(name, on=True, environment=environment)

    def switch(self, name: str, *, on: bool, environment: str = ENVIRONMENT, token: Token | None = None) -> None:
        """Switch a flag on or off."""
        self.ask("POST", f"{self.place(name, environment)}/{'on' if on else 'off'}", token=token)

    def shown(self, name: str, environment: str = ENVIRONMENT) -> dict[str, Any]:
        """A flag in an environment, as the admin API shows it."""
        found: dict[str, Any] = self.ask("GET", self.place(name, environment))
        return found

    def place(self, name: str, environment: str = ENVIRONMENT) -> str:
        """Path of a flag in an environment, behind `/api/admin`."""
        return f"/projects/{PROJECT}/features/{name}/environments/{environment}"


def gradual(name: str, percent: float, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """The strategy that gives a share of users a flag, as the UI makes it."""
    parameters = {"rollout": f"{percent:g}", "stickiness": "userId", "groupId": name}
    return {"name": "flexibleRollout", "parameters": parameters, "constraints": [], "segments": [], **fields}
