"""Strategies: how the percent rises, as the user writes it; a closed union on `kind`.

Each compiles to one list of stages (`plan.py`), so that there is one workflow.
"""

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Tag, model_validator

from rollout.base import Name, Percent, Written, by_kind, percent_text
from rollout.durations import Duration


class Approval(Written):
    """People who must say yes before the rollout goes on."""

    from_: tuple[Name, ...] = Field(default=(), alias="from", description="groups who may approve; none: anybody")
    within: Duration = Field(default=timedelta(hours=24), description="how long to wait for an answer")
    then: Literal["rollback", "hold"] = Field(default="rollback", description="what happens if nobody answers")
    before: bool = Field(default=False, description="ask before the traffic moves instead of after the bake")


class Rung(Written):
    """A percent, a bake, gates, maybe an approval; the percent may be 0, where only the forced header leads there."""

    name: Name | None = Field(default=None, description="default: the percent")
    percent: Percent
    bake: Duration = Field(default=timedelta(minutes=10), description="observed time at this percent")
    gates: tuple[Name, ...] | None = Field(default=None, description="gates to watch; default: all of the spec's")
    approval: Approval | None = None
    early: bool = Field(default=False, description="the bake ends as soon as every gate has proven health")

    @property
    def title(self) -> str:
        """The name a person reads."""
        return self.name or percent_text(self.percent)


class Stage(Rung):
    """A rung that people write: it takes traffic."""

    percent: Percent = Field(gt=0)


def _usual_ladder() -> tuple[Stage, ...]:
    return tuple(Stage(percent=percent) for percent in (5, 25, 50, 100))


def refuse_other_ladder(stages: tuple[Stage, ...]) -> None:
    """Refuse stages whose percents do not strictly rise to 100, and names that are there twice.

    Raises:
        ValueError: with the sentence that helps.
    """
    percents = [stage.percent for stage in stages]
    for before, after in pairwise(percents):
        if after <= before:
            msg = f"percents must strictly rise: {percent_text(after)} comes after {percent_text(before)}"
            raise ValueError(msg)
    if percents[-1] != 100:
        msg = f"the last stage must be 100 %, not {percent_text(percents[-1])}"
        raise ValueError(msg)
    titles = [stage.title for stage in stages]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        msg = f"stage names must differ: {', '.join(sorted(twice))} is there twice"
        raise ValueError(msg)


class CanaryStrategy(Written):
    """Stages as written; percents strictly rise and end at 100."""

    kind: Literal["canary"] = "canary"
    stages: tuple[Stage, ...] = Field(default_factory=_usual_ladder, min_length=1, max_length=50)

    @model_validator(mode="after")
    def _rises_to_the_end(self) -> Self:
        refuse_other_ladder(self.stages)
        return self

    def where(self, index: int) -> str:
        """Where a stage is written, for a sentence about it."""
        return f"strategy.stages[{index}] ({self.stages[index].title})"


class BlueGreenStrategy(Written):
    """All traffic in one step: a look at 0 %, the switch, and a bake with the old colour kept warm.

    At 0 % the candidate is reachable by the routes' forced header only. An abort during the bake flips back at once.
    """

    kind: Literal["blue-green"] = "blue-green"
    preview: Duration = Field(
        default=timedelta(minutes=10), description="observed time at 0 %, where only the forced header leads there"
    )
    preview_gates: tuple[Name, ...] | None = Field(
        default=None, description="gates to watch at 0 %; default: those that need no traffic, `probe` and `web`"
    )
    approval: Approval | None = Field(default=None, description="asked for after the preview, before the switch")
    bake: Duration = Field(default=timedelta(minutes=10), description="observed time at 100 %, both colours warm")
    gates: tuple[Name, ...] | None = Field(default=None, description="gates to watch at 100 %; default: all")

    @property
    def stages(self) -> tuple[Rung, ...]:
        """Its two rungs."""
        return (
            Rung(name="preview", percent=0, bake=self.preview, gates=self.preview_gates, approval=self.approval),
            Rung(name="switched", percent=100, bake=self.bake, gates=self.gates),
        )

    def where(self, index: int) -> str:
        """Where a stage is written, for a sentence about it."""
        return f"strategy ({self.stages[index].title})"


class RollingStrategy(Written):
    """A Deployment's or StatefulSet's own rolling update, in one go, and a bake with every pod new.

    While pods are replaced, new ones are judged against old ones; `hold` pauses the update, an abort puts the recorded
    pod template back. Routes are of kind `rolling-update`.
    """

    kind: Literal["rolling"] = "rolling"
    takes: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        description="how long the update usually takes; only sizes what gates can see meanwhile, it is no limit",
    )
    rolling_gates: tuple[Name, ...] | None = Field(
        default=None, description="gates to watch while pods are replaced; default: all"
    )
    approval: Approval | None = Field(default=None, description="asked for before the first pod is replaced")
    bake: Duration = Field(default=timedelta(minutes=10), description="observed time with every pod new")
    gates: tuple[Name, ...] | None = Field(
        default=None, description="gates to watch then; default: all that need no old pods beside the new ones"
    )

    @property
    def stages(self) -> tuple[Rung, ...]:
        """Its two rungs: while pods are replaced, and after that."""
        asks = self.approval.model_copy(update={"before": True}) if self.approval else None
        return (
            Rung(name="rolling", percent=100, bake=self.takes, gates=self.rolling_gates, approval=asks),
            Rung(name="rolled", percent=100, bake=self.bake, gates=self.gates),
        )

    def where(self, index: int) -> str:
        """Where a stage is written, for a sentence about it."""
        return f"strategy ({self.stages[index].title})"


class FlagStrategy(Written):
    """A feature flag's share of users rises instead of the traffic; the way back is the share it had at the start.

    With `experiment` the share stays as it is for the whole bake, and nothing is promoted by itself: after the bake the
    report waits for a person, who ships the feature to everybody or takes it back.
    """

    kind: Literal["flag"] = "flag"
    stages: tuple[Stage, ...] = Field(default_factory=_usual_ladder, min_length=1, max_length=50)
    way_back: Literal["start", "off"] = Field(
        default="start", description="start: the share it had at the start; off: switched off, whatever rules it has"
    )
    experiment: bool = Field(
        default=False, description="one stage below 100 %, whose bake is the horizon; then a person decides"
    )
    users: Name | None = Field(
        default=None,
        description="of an experiment: a gate of kind proportion whose trials are users, each counted once; whether "
        "they fell to both sides as they should is checked",
    )

    @model_validator(mode="before")
    @classmethod
    def _ships_when_told(cls, written: Any) -> Any:  # noqa: ANN401 - raw input
        """An experiment's last stage is everybody, and asks before."""
        given = written.get("stages") if isinstance(written, dict) and written.get("experiment") else None
        if not isinstance(given, list | tuple) or len(given) != 1:
            return written
        asks = {"before": True, "within": "7d", "then": "rollback"}
        return {**written, "stages": [*given, {"name": "ship", "percent": 100, "approval": asks}]}

    @model_validator(mode="after")
    def _rises_to_the_end(self) -> Self:
        refuse_other_ladder(self.stages)
        if not self.experiment:
            if self.users is not None:
                msg = "users are counted in experiments; set `experiment: true`, or leave `users` out"
                raise ValueError(msg)
            return self
        if len(self.stages) != 2:
            msg = "an experiment has one stage below 100 %, whose bake is its horizon (and maybe one at 100 %, to ship)"
            raise ValueError(msg)
        horizon, ship = self.stages
        if horizon.early:
            msg = f"{horizon.title}: an experiment's horizon is fixed; leave `early` out"
            raise ValueError(msg)
        if ship.approval is None or not ship.approval.before:
            msg = f"{ship.title}: an experiment never promotes by itself; set `approval: {{before: true}}`"
            raise ValueError(msg)
        return self

    def where(self, index: int) -> str:
        """Where a stage is written, for a sentence about it."""
        return f"strategy.stages[{index}] ({self.stages[index].title})"


Strategy = Annotated[
    Annotated[CanaryStrategy, Tag("canary")]
    | Annotated[BlueGreenStrategy, Tag("blue-green")]
    | Annotated[RollingStrategy, Tag("rolling")]
    | Annotated[FlagStrategy, Tag("flag")],
    by_kind("canary", "blue-green", "rolling", "flag", default="canary"),
]
"""Every kind of strategy; what has no kind is a canary."""
