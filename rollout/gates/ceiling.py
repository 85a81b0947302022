"""`ceiling`: a gauge that must not rise: memory, saturation, queue depth, restarts.

Absolute (`above`, `below`) it is a rule like `threshold`. Relative to stable (`worse_than`) it may only hold: samples
of a gauge are independent neither in time nor between pods, so nobody can honestly promise how often it is wrong.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from rollout.base import percent_text
from rollout.durations import Duration, text
from rollout.gates.base import AnyGate
from rollout.gates.counting import Versions

_BLOCK = timedelta(seconds=60)


def _share(written: object) -> object:
    """`20%` as 0.2."""
    if isinstance(written, str) and written.strip().endswith("%"):
        try:
            return round(float(written.strip()[:-1]) / 100, 9)
        except ValueError:
            pass
    return written


Share = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False), BeforeValidator(_share)]
"""By how much more: `20%` or 0.2."""


class CeilingGate(AnyGate):
    """A gauge with a limit of its own, or compared between the candidate's and stable's pods."""

    kind: Literal["ceiling"] = "ceiling"
    query: str = Field(
        min_length=1,
        max_length=10_000,
        description="PromQL: a gauge; for worse_than one value per pod of both versions",
    )
    above: float | None = Field(default=None, allow_inf_nan=False, description="bad when the value is greater")
    below: float | None = Field(default=None, allow_inf_nan=False, description="bad when the value is less")
    for_: Duration = Field(default=timedelta(0), alias="for", description="how long it must be bad without a break")
    worse_than: Share | None = Field(
        default=None, description="20%: bad when the candidate's median pod stays so far above stable's upper quarter"
    )
    block: Duration = Field(default=_BLOCK, description="of worse_than: one comparison each; thirteen in a row hold")
    versions: Versions = Versions()

    @model_validator(mode="before")
    @classmethod
    def _holds_only(cls, written: Any) -> Any:  # noqa: ANN401 - raw input
        if isinstance(written, dict) and written.get("worse_than") is not None:
            return {"on_breach": "hold", **written}
        return written

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if sum(each is not None for each in (self.above, self.below, self.worse_than)) != 1:
            msg = "a ceiling gate needs one of `above`, `below` and `worse_than`"
            raise ValueError(msg)
        if self.worse_than is None:
            if self.block != _BLOCK:
                msg = "`block` belongs to `worse_than`; with `above` or `below` write `for`"
                raise ValueError(msg)
            return self
        if self.on_breach == "rollback":
            msg = (
                "worse_than can only hold: samples of a gauge are not independent, so no false-alarm rate can be "
                "promised; write `on_breach: hold`, or a limit of its own with `above`"
            )
            raise ValueError(msg)
        if self.for_:
            msg = "`for` belongs to `above` and `below`; worse_than counts blocks, see `block`"
            raise ValueError(msg)
        if self.block < timedelta(seconds=1):
            msg = "a block must be at least 1s long"
            raise ValueError(msg)
        return self

    @property
    def queries(self) -> tuple[str, ...]:
        """What to ask at every tick."""
        return (self.query,)

    @property
    def compares(self) -> bool:
        """See `AnyGate.compares`."""
        return self.worse_than is not None

    def is_bad(self, value: float) -> bool:
        """Whether a value is beyond a limit of its own; False for NaN, and where pods are compared."""
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below

    def badness(self, value: float) -> float:
        """Greater is worse."""
        return -value if self.below is not None else value

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        if self.worse_than is not None:
            more = percent_text(self.worse_than * 100)
            return f"{more} above stable's upper quarter of pods, in blocks of {text(self.block)}"
        side = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        return f"{side} for {text(self.for_)}" if self.for_ else side
