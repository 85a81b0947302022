"""One class per activity argument and result, per command, per answer. Tolerant, only ever extended."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, ValidationError

from rollout.base import Told, Written
from rollout.durations import Duration
from rollout.gates import Gate
from rollout.judge.evidence import Test
from rollout.judge.merge import Budget
from rollout.judge.verdict import GateState
from rollout.mitigations import Flag
from rollout.routes import Route
from rollout.spec import RolloutSpec
from rollout.workloads import Workload


class Command(Written):
    """The one argument of every command; all fields optional."""

    by: str | None = Field(default=None, max_length=128, description="who says so; a claim, not a proof")
    comment: str | None = Field(default=None, max_length=1000)
    stage: str | None = Field(default=None, max_length=63, description="the stage it is meant for")


def read_command(arguments: tuple[Any, ...]) -> tuple[Command, str | None]:
    """Make a command of whatever a person sent.

    Returns:
        The command, and None or the reason why (a part of) the arguments is unusable. Nothing sent is a fine command.
    """
    match arguments:
        case () | (None,):
            return Command(), None
        case (Command() as command,):
            return command, None
        case (dict() as fields,):
            try:
                return Command.model_validate(fields), None
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"])[:40]
                return Command(), f"{field}: {first['msg']}; known are by, comment, stage"
        case (other,):
            return Command(), f'a JSON object such as {{"by": "ana"}} is wanted, not {str(other)[:40]!r}'
        case _:
            return Command(), f"one JSON object is wanted, not {len(arguments)} arguments"


class PlanRollout(Told):
    """Ask for preflight."""

    spec: RolloutSpec
    owner: str


class ShiftTraffic(Told):
    """Move every route to a percent, in order, and prove it.

    Attributes:
        percent: wanted, percent of traffic on the candidate.
        expected: what we last proved; a route that is at neither is drift.
        epoch: fence; a route that carries a newer one refuses.
        reassert: overwrite drift (a person resumed, or policy says so).
        release: take our mark and the forced header off in the same write (the rollout ends here).
        pause: routers that move traffic by themselves stay where they are.
        workload: pods that must be enough before anything is raised.
    """

    routes: tuple[Route, ...]
    percent: float
    expected: float
    epoch: int
    owner: str
    prove_within: Duration
    reassert: bool = False
    release: bool = False
    pause: bool = False
    workload: Workload | None = None


class TrafficShifted(Told):
    """Proof that every route is where it was told to be, or moves there by itself.

    Attributes:
        moving: what a router that moves traffic by itself is still doing, in words; None if all have arrived.
        paused: whether such a router was told to stay where it is.
    """

    percent: float
    epoch: int
    written: tuple[str, ...] = Field(default=(), description="routes that had to be written, in words")
    proof: tuple[str, ...] = Field(default=(), description="what each router showed, in words")
    moving: str | None = None
    paused: bool = False


class SeenBad(Told):
    """How bad a gate that counts had seen the candidate.

    Attributes:
        ratio: times worse than stable, at most 1000.
        share: of the candidate's trials that were bad, 0 to 1; None where fewer events are worse.
    """

    ratio: float
    share: float | None = None


class WatchHealth(Told):
    """Watch gates and routes until something is to be decided.

    Attributes:
        gates: what to ask, by name.
        states: what is already known, by gate name; a gate without a state starts now.
        since_ms: where a gate without a state starts, Unix milliseconds.
        bake: wanted observed time, or None when only watching (held, waiting for people).
        acknowledged: gate names, "drift" or "no-data" that led to the present hold and must not end this watch again.
        announced_blind: whether the workflow already says that data are missing; None: do not report any more.
        percent: percent that was proven; anything else is drift.
        epoch: fence of the write that was proven.
        owner: our mark on the routes; None before the first write, when there is none to be missed.
        patient_since_ms: missing data are waited for from here on anew (somebody resumed), Unix milliseconds.
        tests: for each gate that counts, how it is judged in this stage.
        budgets: the false-alarm budgets of all gates that count, watched here or not.
        parked: e-values of those that are not watched here.
        forced: whether visitors can choose the candidate by a header.
        sticky: whether users stay on their version: then requests are not split at random.
        undecided: what a bake's end without a decision does.
        early: the bake ends as soon as every gate has proven health.
        arrived_ms: when the percent was last proven, Unix milliseconds; black-outs and warm-ups begin here.
        native: gates whose histogram is a native one.
        rolling: a router moves traffic by itself; this watch ends when it has arrived.
        users: gate whose trials are an experiment's users: they must fall to the two sides as commanded.
        recovering: gates that must recover now that a flag is off, and how bad each that counts had seen the
            candidate; a watch until that can be told.
    """

    gates: dict[str, Gate]
    states: dict[str, GateState] = Field(default_factory=dict)
    since_ms: int
    bake: Duration | None
    poll: Duration
    no_data_hold: Duration
    observed_ms: int = Field(default=0, description="of the bake so far, for a watch without gates; milliseconds")
    acknowledged: tuple[str, ...] = ()
    announced_blind: bool | None = False
    routes: tuple[Route, ...]
    percent: float
    epoch: int
    owner: str | None
    patient_since_ms: int = 0
    tests: dict[str, Test] = Field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    parked: dict[str, float] = Field(default_factory=dict)
    forced: bool = True
    sticky: bool = False
    undecided: Literal["advance", "extend", "hold"] = "advance"
    early: bool = False
    arrived_ms: int = 0
    native: tuple[str, ...] = ()
    rolling: bool = False
    recovering: dict[str, SeenBad | None] = Field(default_factory=dict)
    users: str | None = None


class ApplyMitigation(Told):
    """Turn a flag off, and prove it.

    Attributes:
        flag: which.
        why: for the flag service's own log of changes.
        prove_within: how long it may take to be off where it is evaluated.
        recent: off already, and for no longer than this: another rollout did it for the same reason.
    """

    flag: Flag
    why: str
    prove_within: Duration
    recent: Duration


class FlagTurnedOff(Told):
    """Proof that a flag is off wherever it is evaluated.

    Attributes:
        by_us: whether it was still on.
        helps: False if it had been off for so long that it cannot be what is wrong now.
        changed_by: who had turned it off, if it was not us and the service knows.
        proof: what the evaluators showed, in words.
    """

    by_us: bool
    helps: bool = True
    changed_by: str | None = None
    proof: str = ""


class Unseen(Told):
    """Something that cannot be seen: since when (Unix milliseconds) and why."""

    since_ms: int
    reason: str


class Watching(Told):
    """Where a watch is: travels in every heartbeat, so that the next attempt goes on exactly here."""

    states: dict[str, GateState] = Field(default_factory=dict)
    watermark_ms: int = Field(description="last tick, Unix milliseconds")
    observed_ms: int = Field(default=0, description="of the bake, for a watch without gates; milliseconds")
    late_ms: int = Field(default=0, description="how late the last poll was, milliseconds")
    dead: dict[str, int] = Field(
        default_factory=dict, description="routes whose candidate pool is dead while stable lives: since, Unix ms"
    )
    unseen: dict[str, Unseen] = Field(default_factory=dict, description="gates and routes that cannot be seen now")
    moving: str | None = Field(default=None, description="what routers that move by themselves still do, in words")
    failed: str | None = Field(default=None, description="why such a router will never arrive")
    sides: dict[str, str] = Field(default_factory=dict, description="pool → hash of its pods, where a router tells it")


class Watched(Told):
    """Why a watch ended."""

    why: Literal[
        "baked",
        "breached",
        "blind",
        "sighted",
        "no-data",
        "drifted",
        "interrupted",
        "proven",
        "doubtful",
        "arrived",
        "recovered",
        "unclear",
    ]
    gate: str | None = Field(default=None, description="the gate it is about; breached without one: the pool is dead")
    reason: str = ""
    watching: Watching


class RestoreTraffic(Told):
    """Bring every route back, at once, whatever is found there; but no faster than stable's pods can take it.

    Attributes:
        workload: whose stable pods are looked at; None: nobody's.
        capped_for: how long they are waited for.
        percent: where they were at the start; anything but 0 is for flags only.
        switch_off: flags are switched off for everybody, whatever rules they have.
    """

    routes: tuple[Route, ...]
    expected: tuple[float, ...] = Field(default=(), description="percents that we wrote; anything else was foreign")
    epoch: int
    owner: str
    prove_within: Duration
    workload: Workload | None = None
    capped_for: Duration = timedelta(0)
    percent: float = 0
    switch_off: bool = False


class TrafficRestored(Told):
    """Proof that stable has all the traffic again."""

    epoch: int
    percent: float = 0
    left_off: tuple[str, ...] = Field(
        default=(), description="flags that somebody has switched off meanwhile, in words"
    )
    overwrote: tuple[str, ...] = Field(default=(), description="foreign values found and replaced, in words")
    proof: tuple[str, ...] = ()


class DrainPool(Told):
    """Wait until a pool that gets no new traffic has finished its requests."""

    routes: tuple[Route, ...]
    pool: Literal["candidate", "stable"]
    timeout: Duration
    workload: Workload | None = Field(default=None, description="whose candidate is taken away after a way back")
    epoch: int = 0
    owner: str = ""


class PoolDrained(Told):
    """How draining ended."""

    in_flight: int = Field(description="requests still open when we stopped waiting")
    removed: str | None = Field(default=None, description="what became of the candidate's pods")
