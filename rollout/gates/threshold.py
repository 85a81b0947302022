"""`threshold`: an expression and a limit, as in a Prometheus alerting rule.

A rule that is pasted alone means exactly what it means in Prometheus. Two more questions make it fair where a ratio of
few requests, or an outage that hits both versions, would blame a healthy candidate; each is asked as soon as it is
named, because no general way leads from an expression to its denominator.
"""

from datetime import timedelta
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rollout.durations import Duration, text
from rollout.gates.base import AnyGate
from rollout.gates.counting import Versions
from rollout.queries import split_comparison, stable_twin

Query = Annotated[str, Field(min_length=1, max_length=10_000)]
"""PromQL."""


class ThresholdGate(AnyGate):
    """A Prometheus expression and a limit, with the `for:` semantics of a Prometheus alerting rule.

    Write the value as `query` and the limit as `above` or `below`; or paste an alerting rule's whole `expr`, word for
    word: a final `> 0.05` becomes `above: 0.05`.
    """

    kind: Literal["threshold"] = "threshold"
    query: Query = Field(description="PromQL, evaluated at every poll")
    above: float | None = Field(default=None, allow_inf_nan=False, description="bad when the value is greater")
    below: float | None = Field(default=None, allow_inf_nan=False, description="bad when the value is less")
    for_: Duration = Field(default=timedelta(0), alias="for", description="how long it must be bad without a break")
    requests: Query | None = Field(
        default=None, description="PromQL: how many requests the value is made of; with too few it is not judged"
    )
    min_requests: int | None = Field(
        default=None, ge=1, description="how many are enough; default: 1/limit, so that one bad request is not a breach"
    )
    unless_baseline: bool | Query = Field(
        default=False,
        description="PromQL: the same of stable; true: the same query with stable's label value. "
        "A value is then bad only if it is also `baseline_factor` times worse than stable's",
    )
    baseline_factor: float = Field(default=2, ge=1, le=100, description="how many times worse than stable")
    versions: Versions = Versions()

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

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.min_requests is not None and self.requests is None:
            msg = "min_requests needs `requests`, the query that says how many there are"
            raise ValueError(msg)
        if self.requests is not None and self.min_requests is None and not (self.above is not None and self.above > 0):
            msg = "write min_requests: only a limit `above` a number greater than 0 says by itself how many are enough"
            raise ValueError(msg)
        if self.unless_baseline is True:
            self._twin()  # refuses a query in which stable cannot take the candidate's place
        return self

    @property
    def least_requests(self) -> int:
        """With how many requests the value is judged; 0 if nobody counts them."""
        if self.requests is None:
            return 0
        return self.min_requests or max(1, ceil(1 / (self.above or 1) - 1e-9))

    @property
    def baseline(self) -> str | None:
        """PromQL of stable's value; None if it does not matter."""
        if not self.unless_baseline:
            return None
        asked = self._twin() if self.unless_baseline is True else self.unless_baseline
        parts = split_comparison(asked)
        return parts[0] if parts else asked  # the limit is the candidate's; a filter would hide stable's value

    @property
    def queries(self) -> tuple[str, ...]:
        """What to ask at every tick, in the order that `rollout.judge.effective` takes the answers."""
        return tuple(query for query in (self.query, self.requests, self.baseline) if query is not None)

    def is_bad(self, value: float) -> bool:
        """Whether a value is beyond the limit; False for NaN, as in a PromQL comparison."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def is_worse(self, value: float, baseline: float) -> bool:
        """Whether it is `baseline_factor` times worse than stable's value."""
        if self.above is not None:
            return value > baseline * self.baseline_factor
        return value < baseline / self.baseline_factor

    def badness(self, value: float) -> float:
        """Greater is worse."""
        return value if self.above is not None else -value

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        words = [f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"]
        if self.for_:
            words[0] += f" for {text(self.for_)}"
        if self.requests is not None:
            words.append(f"from {self.least_requests} requests on")
        if self.unless_baseline:
            factor = f"{self.baseline_factor:g}"
            words.append(f"if above {factor}× stable's" if self.above is not None else f"if below stable's / {factor}")
        return ", ".join(words)

    def _twin(self) -> str:
        versions = self.versions
        return stable_twin(self.query, versions.label, versions.candidate, versions.stable)
