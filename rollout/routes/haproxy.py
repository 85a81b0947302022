"""HAProxy, as the user writes it."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rollout.routes.base import Pool, ProxyRoute, Service


class HaproxyRoute(ProxyRoute):
    """A service of one HAProxy, moved over its runtime socket: no reload, no dropped request.

    `map`: two backends and a map that says how many of 10 000 draws go to the candidate. `server-weights`: one backend,
    named `service`, whose servers carry the pools' names as prefix; steps are as fine as weights of 0 to 256 allow.
    """

    connects_to: ClassVar[str] = "haproxy"

    kind: Literal["haproxy"] = "haproxy"
    service: Service = Field(description="name of the map file without `.map`; with server weights also of the backend")
    candidate: Pool | None = Field(
        default=None, description="backend (or server name prefix) of the candidate; default `<service>-candidate`"
    )
    stable: Pool | None = Field(
        default=None, description="backend (or server name prefix) of stable; default `<service>-stable`"
    )
    mode: Literal["map", "server-weights"] = Field(default="map", description="how traffic is split")

    @model_validator(mode="after")
    def _cookies_of_its_own(self) -> Self:
        if self.sticky and self.mode == "server-weights":
            msg = (
                "with server weights HAProxy's own `cookie` keeps users on a server, which is no fixed share of them; "
                "use mode map, or drop `sticky`"
            )
            raise ValueError(msg)
        return self
