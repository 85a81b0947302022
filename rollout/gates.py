"""Gates: questions to health data, as the user writes them. A closed union on `kind`.

A gate says what to ask and what answer is bad; how evidence is judged lives in `rollout/judge/`, who is asked in
`activities/metrics/`. There is no address here: `connection` is a name in the worker's settings.
"""

from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration, text
from rollout.queries import split_comparison

OnBreach = Literal["rollback", "hold"]


class ThresholdGate(Written):
    """A Prometheus expression and a limit, with the `for:` semantics of a Prometheus alerting rule.

    Write the value as `query` and the limit as `above` or `below`; or paste an alerting rule's whole `expr`, word for
    word: a final `> 0.05` becomes `above: 0.05`.
    """

    kind: Literal["threshold"] = "threshold"
    query: str = Field(min_length=1, max_length=10_000, description="PromQL, evaluated at every poll")
    above: float | None = Field(default=None, allow_inf_nan=False, description="bad when the value is greater")
    below: float | None = Field(default=None, allow_inf_nan=False, description="bad when the value is less")
    for_: Duration = Field(default=timedelta(0), alias="for", description="how long it must be bad without a break")
    on_breach: OnBreach = Field(default="rollback", description="what a breach does")
    standing: bool = Field(default=False, description="watched in every stage, also where a stage does not name it")
    connection: Name = Field(default="prometheus", description="name of the metrics server in the worker's settings")

    @model_validator(mode="before")
    @classmethod
    def _whole_rule(cls, written: Any) -> Any:  # noqa: ANN401 - raw input
        if not isinstance(written, dict) or "above" in written or "below" in written:
            return written
        parts = split_comparison(str(written.get("query", "")))
        if parts is None:
            return written
        query, operator, threshold = parts
        return {**written, "query": query, "above" if operator == ">" else "below": threshold}

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.above is None) == (self.below is None):
            msg = "a threshold gate needs one of `above` and `below` (or a query that ends in `> number` or `< number`)"
            raise ValueError(msg)
        return self

    def is_bad(self, value: float) -> bool:
        """Whether a value is beyond the limit; False for NaN, as in a PromQL comparison."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    @property
    def limit(self) -> str:
        """The limit as a sentence's end: `above 0.05 for 2m`."""
        side = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        return f"{side} for {text(self.for_)}" if self.for_ else side


Gate = ThresholdGate
"""Every kind of gate; a union on `kind` as soon as there are two."""
