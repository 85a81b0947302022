"""Strategies: how the percent rises, as the user writes it; a closed union on `kind`.

Each compiles to one list of stages (`plan.py`), so that there is one workflow.
"""

from datetime import timedelta
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from rollout.base import Name, Percent, Written, percent_text
from rollout.durations import Duration


class Approval(Written):
    """People who must say yes before the rollout goes on."""

    from_: tuple[Name, ...] = Field(default=(), alias="from", description="groups who may approve; none: anybody")
    within: Duration = Field(default=timedelta(hours=24), description="how long to wait for an answer")
    then: Literal["rollback", "hold"] = Field(default="rollback", description="what happens if nobody answers")
    before: bool = Field(default=False, description="ask before the traffic moves instead of after the bake")


class Stage(Written):
    """One rung: a percent, a bake, gates, maybe an approval."""

    name: Name | None = Field(default=None, description="default: the percent")
    percent: Percent = Field(gt=0)
    bake: Duration = Field(default=timedelta(minutes=10), description="observed time at this percent")
    gates: tuple[Name, ...] | None = Field(default=None, description="gates to watch; default: all of the spec's")
    approval: Approval | None = None
    early: bool = Field(default=False, description="the bake ends as soon as every gate has proven health")

    @property
    def title(self) -> str:
        """The name a person reads."""
        return self.name or percent_text(self.percent)


def _usual_ladder() -> tuple[Stage, ...]:
    return tuple(Stage(percent=percent) for percent in (5, 25, 50, 100))


class CanaryStrategy(Written):
    """Stages as written; percents strictly rise and end at 100."""

    kind: Literal["canary"] = "canary"
    stages: tuple[Stage, ...] = Field(default_factory=_usual_ladder, min_length=1, max_length=50)

    @model_validator(mode="after")
    def _rises_to_the_end(self) -> Self:
        percents = [stage.percent for stage in self.stages]
        for before, after in pairwise(percents):
            if after <= before:
                msg = f"percents must strictly rise: {percent_text(after)} comes after {percent_text(before)}"
                raise ValueError(msg)
        if percents[-1] != 100:
            msg = f"the last stage must be 100 %, not {percent_text(percents[-1])}"
            raise ValueError(msg)
        titles = [stage.title for stage in self.stages]
        twice = {title for title in titles if titles.count(title) > 1}
        if twice:
            msg = f"stage names must differ: {', '.join(sorted(twice))} is there twice"
            raise ValueError(msg)
        return self


Strategy = CanaryStrategy
"""Every kind of strategy; a union on `kind` as soon as there are two."""
