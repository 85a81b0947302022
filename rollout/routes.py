"""Routes: the places where traffic is split, as the user writes them. A closed union on `kind`."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration

_DAY = timedelta(days=1)


class ForcedHeader(Written):
    """A request header that forces a version, whatever the percent: how QA sees the candidate at 5 %."""

    name: str = Field(default="X-Canary", pattern=r"^[A-Za-z0-9-]+$")
    candidate: str = Field(default="true", min_length=1, description="value that forces the candidate")
    stable: str = Field(default="false", min_length=1, description="value that forces stable")

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


class EnvoyRoute(Written):
    """Weighted clusters in an Envoy route configuration served from a file.

    The connection names Envoy's admin address and the folder of route files; the file is `<service>.json` there and the
    route configuration's name is `service`.
    """

    kind: Literal["envoy"] = "envoy"
    connection: Name = Field(description="name of the Envoy in the worker's settings")
    service: Name = Field(description="name of the route configuration, and of its file without `.json`")
    candidate: str | None = Field(default=None, description="cluster of the candidate; default `<service>-candidate`")
    stable: str | None = Field(default=None, description="cluster of stable; default `<service>-stable`")
    header: ForcedHeader | None = Field(default=None, description="forced routing, while the rollout lasts")
    sticky: Sticky | None = Field(default=None, description="keep users on the version first given; default: nobody")

    @model_validator(mode="after")
    def _two_pools(self) -> Self:
        if self.candidate_pool == self.stable_pool:
            msg = f"candidate and stable are the same pool, {self.stable_pool}: there is nothing to split"
            raise ValueError(msg)
        return self

    @property
    def candidate_pool(self) -> str:
        """The Envoy cluster that serves the candidate."""
        return self.candidate or f"{self.service}-candidate"

    @property
    def stable_pool(self) -> str:
        """The Envoy cluster that serves stable."""
        return self.stable or f"{self.service}-stable"

    @property
    def sticky_users(self) -> bool:
        """Whether a user stays on the version first given, so that users (and not only requests) can be compared."""
        return self.sticky is not None

    def __str__(self) -> str:
        """`envoy edge-1/checkout`."""
        return f"{self.kind} {self.connection}/{self.service}"


Route = EnvoyRoute
"""Every kind of route; a union on `kind` as soon as there are two."""
