"""What several kinds of routes have in common: the two pools, the forced header, users who stay on a version."""

from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration

_DAY = timedelta(days=1)
# It goes into the configurations of proxies: nothing in it needs quoting there.
_VALUE = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"


class ForcedHeader(Written):
    """A request header that forces a version, whatever the percent: how QA sees the candidate at 5 %."""

    name: str = Field(default="X-Canary", pattern=r"^[A-Za-z0-9-]+$")
    candidate: str = Field(default="true", pattern=_VALUE, max_length=64, description="value that forces the candidate")
    stable: str = Field(default="false", pattern=_VALUE, max_length=64, description="value that forces stable")

    @model_validator(mode="after")
    def _two_values(self) -> Self:
        if self.candidate == self.stable:
            msg = f"header {self.name} cannot force both candidate and stable by the same value {self.stable!r}"
            raise ValueError(msg)
        return self


def _whole_seconds(ttl: timedelta) -> timedelta:
    if ttl < timedelta(seconds=1) or ttl.microseconds:
        msg = "a cookie lives for whole seconds, at least 1s"
        raise ValueError(msg)
    return ttl


class Sticky(Written):
    """Users stay on the version first given: as the percent rises users only ever join the candidate, none goes back.

    Users are told apart by a cookie that the router hands out, or by a header that the application sends already.
    Without either on a request the version is drawn anew.
    """

    cookie: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+$",
        max_length=64,
        description="cookie that the router hands out; default `sluice-user` unless a header is named",
    )
    header: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9-]+$", description="request header that names the user, instead of a cookie"
    )
    ttl: Annotated[Duration, AfterValidator(_whole_seconds)] = Field(
        default=_DAY, description="how long the cookie lives; longer than the rollout, or users are drawn anew"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.header is None:
            return self
        if self.cookie is not None:
            msg = f"users are told apart by cookie {self.cookie} or by header {self.header}, not by both: drop one"
            raise ValueError(msg)
        if self.ttl != _DAY:
            msg = f"ttl is the life of a cookie, and users are told apart by header {self.header}: drop it"
            raise ValueError(msg)
        return self

    @property
    def cookie_name(self) -> str | None:
        """The cookie that the router hands out; None if a header tells users apart."""
        return None if self.header else self.cookie or "sluice-user"


Pool = Annotated[str, StringConstraints(pattern=_VALUE, max_length=200)]
"""What a proxy calls one of its pools. It goes into commands and configurations: nothing in it needs quoting there."""

Service = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]
"""What a proxy's configuration calls a service; also the name of a file."""


class BaseRoute(Written):
    """A place where traffic is split between two pools.

    Attributes:
        connects_to: kind of the connection in the worker's settings.
    """

    connects_to: ClassVar[str]

    connection: Name = Field(description="name of the connection in the worker's settings")

    @property
    def candidate_pool(self) -> str:
        """What serves the candidate, as the router calls it."""
        raise NotImplementedError

    @property
    def stable_pool(self) -> str:
        """What serves stable, as the router calls it."""
        raise NotImplementedError

    @property
    def forced_header(self) -> ForcedHeader | None:
        """The header with which a visitor chooses a version, if there is one."""
        return None

    @property
    def sticky_users(self) -> bool:
        """Whether a user stays on the version first given, so that users (and not only requests) can be compared."""
        return False

    @property
    def in_place(self) -> bool:
        """Whether there is one pool, whose members are replaced: no stable beside a candidate that dies."""
        return False

    @property
    def place(self) -> str:
        """Where it is, after the connection's name: two routes of one place would fight."""
        raise NotImplementedError

    def __str__(self) -> str:
        """`envoy edge-1/checkout`."""
        return f"{getattr(self, 'kind', 'route')} {self.connection}/{self.place}"

    @model_validator(mode="after")
    def _two_pools(self) -> Self:
        if self.candidate_pool == self.stable_pool:
            msg = f"candidate and stable are the same pool, {self.stable_pool}: there is nothing to split"
            raise ValueError(msg)
        return self


class TwoNamed(BaseRoute):
    """A place whose two pools are called by the names that the user gives.

    Attributes:
        candidate: what serves the candidate.
        stable: what serves stable.
    """

    candidate: str
    stable: str

    @property
    def candidate_pool(self) -> str:
        """What serves the candidate, as the router calls it."""
        return self.candidate

    @property
    def stable_pool(self) -> str:
        """What serves stable, as the router calls it."""
        return self.stable


class HeaderRoute(BaseRoute):
    """A place that can also split by a header."""

    header: ForcedHeader | None = Field(default=None, description="forced routing, while the rollout lasts")

    @property
    def forced_header(self) -> ForcedHeader | None:
        """The header with which a visitor chooses a version, if there is one."""
        return self.header


class ProxyRoute(HeaderRoute):
    """A service of a proxy that can split by header and keep users on a version."""

    service: Service = Field(description="what the proxy's configuration calls the service")
    candidate: Pool | None = Field(default=None, description="pool of the candidate; default `<service>-candidate`")
    stable: Pool | None = Field(default=None, description="pool of stable; default `<service>-stable`")
    sticky: Sticky | None = Field(default=None, description="keep users on the version first given; default: nobody")

    @property
    def candidate_pool(self) -> str:
        """What serves the candidate, as the proxy calls it."""
        return self.candidate or f"{self.service}-candidate"

    @property
    def stable_pool(self) -> str:
        """What serves stable, as the proxy calls it."""
        return self.stable or f"{self.service}-stable"

    @property
    def sticky_users(self) -> bool:
        """Whether a user stays on the version first given."""
        return self.sticky is not None

    @property
    def place(self) -> str:
        """The service."""
        return self.service
