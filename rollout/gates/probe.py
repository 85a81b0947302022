"""`probe`: one HTTP request through the router, with the header that forces the candidate.

What one request says is little, and it works where nothing else does: before anybody but us meets the candidate.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration, text
from rollout.gates.base import AnyGate
from rollout.gates.paths import Path

# Whoever writes specs must not choose the host, the user or the method that the worker's credentials go to.
_NOT_OURS = re.compile(
    r"host|authorization|cookie|connection|keep-alive|te|trailer|upgrade|forwarded|expect|via|content-.*|transfer-.*|"
    r"proxy-.*|x-forwarded-.*|x-http-method.*|x-method.*|x-original-.*|x-rewrite-.*|x-envoy-.*",
    re.IGNORECASE,
)


def _allowed(name: str) -> str:
    if _NOT_OURS.fullmatch(name):
        msg = f"header {name} belongs to the connection in the worker's settings, not into a spec"
        raise ValueError(msg)
    return name


class ProbeHeader(Written):
    """The header that forces the candidate, as the route has it."""

    name: Annotated[str, AfterValidator(_allowed)] = Field(
        default="X-Canary", pattern=r"^[A-Za-z0-9-]+$", max_length=100
    )
    value: str = Field(default="true", pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=1000)


def _listed(written: Any) -> Any:  # noqa: ANN401 - raw input
    return (written,) if isinstance(written, int | str) and not isinstance(written, bool) else written


Statuses = Annotated[
    tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(min_length=1, max_length=50), BeforeValidator(_listed)
]
"""One HTTP status, or a list of them."""


class ProbeGate(AnyGate):
    """A request that must be answered as it should be: by status, in time, with a text."""

    kind: Literal["probe"] = "probe"
    connection: Name = Field(description="name of the http connection in the worker's settings: the way visitors come")
    path: Path = Field(description="below the connection's URL: /healthz")
    method: Literal["GET", "HEAD"] = "GET"
    header: ProbeHeader | None = Field(default=ProbeHeader(), description="forces the candidate; null: none is sent")
    status: Statuses = Field(default=(200,), description="good ones; redirects are not followed")
    slower_than: Duration | None = Field(default=None, description="bad when the whole answer took longer")
    contains: str | None = Field(
        default=None, min_length=1, max_length=1000, description="text in the first 64 KiB of the body"
    )
    for_: Duration = Field(
        default=timedelta(seconds=15), alias="for", description="how long every request must be bad, without a break"
    )

    @model_validator(mode="after")
    def _has_a_body(self) -> Self:
        if self.contains is not None and self.method == "HEAD":
            msg = "the answer to HEAD has no body that could contain anything: write method: GET"
            raise ValueError(msg)
        if self.slower_than is not None and not self.slower_than:
            msg = "every answer is slower than 0s"
            raise ValueError(msg)
        return self

    def is_bad(self, value: float) -> bool:
        """1 is bad, 0 is good."""
        return value > 0

    def badness(self, value: float) -> float:
        """Greater is worse."""
        return value

    @property
    def needs_traffic(self) -> bool:
        """It asks by itself."""
        return False

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        ways = [f"status other than {' or '.join(map(str, self.status))}"]
        if self.slower_than is not None:
            ways.append(f"slower than {text(self.slower_than)}")
        if self.contains is not None:
            ways.append(f"without {self.contains!r}")
        lasting = f" for {text(self.for_)}" if self.for_ else ""
        return f"{self.method} {self.path}: {' or '.join(ways)}{lasting}"
