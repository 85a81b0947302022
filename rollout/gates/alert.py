"""`alert`: alerting rules that the metrics server evaluates already.

The rule stays where its owners keep it; here it is only named, or found by an annotation such as the article's
`action: "auto_rollback"`. It brings its own `for:`, so there is none here.
"""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rollout.gates.base import AnyGate

Words = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
_LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=200)]


class AlertGate(AnyGate):
    """One alerting rule by its name, or every rule that carries the annotations; bad while an alert of it fires."""

    kind: Literal["alert"] = "alert"
    name: Words | None = Field(default=None, description="name of the alerting rule: CanaryHighErrorRate")
    annotation: dict[_LabelName, Words] = Field(
        default_factory=dict, description="every rule that carries these: {action: auto_rollback}"
    )
    labels: dict[_LabelName, Words] = Field(
        default_factory=dict,
        description="an alert that carries another value of one of these is somebody else's: {service: checkout}",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.name is None) != bool(self.annotation):
            msg = "an alert gate needs one of `name` (an alerting rule) and `annotation` (every rule that carries it)"
            raise ValueError(msg)
        return self

    @property
    def for_(self) -> timedelta:
        """None: the rule has its own."""
        return timedelta(0)

    def is_bad(self, value: float) -> bool:
        """1 is an alert, 0 is none."""
        return value > 0

    def badness(self, value: float) -> float:
        """Greater is worse."""
        return value

    @property
    def rules(self) -> str:
        """Which rules, in words."""
        if self.name is not None:
            return self.name
        wanted = ", ".join(f"{name}: {value}" for name, value in self.annotation.items())
        return f"every rule annotated {wanted}"

    @property
    def limit(self) -> str:
        """See `AnyGate.limit`."""
        only = ", ".join(f"{name}={value}" for name, value in self.labels.items())
        return f"{self.rules} firing{f' for {only}' if only else ''}"
