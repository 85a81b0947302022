"""`web`: a number in any JSON document: a queue's length, an error budget, another system's score."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from rollout.base import Name
from rollout.durations import Duration, text
from rollout.gates.base import AnyGate
from rollout.gates.paths import Path


class WebGate(AnyGate):
    """A number behind a JSON pointer (RFC 6901), and a limit."""

    kind: Literal["web"] = "web"
    connection: Name = Field(description="name of the http connection in the worker's settings")
    path: Path = Field(description="below the connection's URL: /api/v1/score?service=checkout")
    pointer: str = Field(
        pattern=r"^(/([^~/]|~[01])*)*$", max_length=1000, description="where the number is: /data/0/errors"
    )
    above: float | None = Field(default=None, allow_inf_nan=False, description="bad when the number is greater")
    below: float | None = Field(default=None, allow_inf_nan=False, description="bad when the number is less")
    equals: float | None = Field(default=None, allow_inf_nan=False, description="bad when it is this number")
    for_: Duration = Field(default=timedelta(0), alias="for", description="how long it must be bad without a break")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if sum(each is not None for each in (self.above, self.below, self.equals)) != 1:
            msg = "a web gate needs one of `above`, `below` and `equals`: what is bad"
            raise ValueError(msg)
        return self

    def is_bad(self, value: float) -> bool:
        """Whether a number is beyond the limit; False for NaN."""
        if self.above is not None:
            return value > self.above
        if self.below is not None:
            return value < self.below
        return value == self.equals

    def badness(self, value: float) -> float:
        """Greater is worse."""
        if self.equals is not None:
            return float(value == self.equals)
        return value if self.above is not None else -value

    @property
    def needs_traffic(self) -> bool:
        """It asks by itself."""
        return False

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        ways = {"above": self.above, "below": self.below, "equal to": self.equals}
        [side] = [f"{way} {number:g}" for way, number in ways.items() if number is not None]
        return f"{side} for {text(self.for_)}" if self.for_ else side
