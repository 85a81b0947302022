"""What may happen to a rollout: one small value an event, so that a failing story reads as one."""

from dataclasses import dataclass
from typing import Literal

from rollout.judge.verdict import Verdict

Why = Literal["baked", "breached", "blind", "sighted", "no-data", "drifted", "interrupted", "recovered"]


@dataclass(frozen=True)
class Say:
    """Somebody sends a command."""

    name: str
    by: str | None = None
    stage: str | None = None


@dataclass(frozen=True)
class Wait:
    """Time passes; what is watched is seen to be as it was."""

    seconds: int


@dataclass(frozen=True)
class Away:
    """Time passes and nobody watches: no worker."""

    seconds: int


@dataclass(frozen=True)
class Works:
    """What is being done succeeds: a write is proven, a bake is observed to its end."""


@dataclass(frozen=True)
class Fails:
    """A write fails, maybe after some routes had proven it."""

    drifted: bool
    partly: bool = False


@dataclass(frozen=True)
class Sees:
    """A gate answers this from now on."""

    gate: str
    verdict: Verdict


@dataclass(frozen=True)
class Loses:
    """A gate or a route cannot be seen from now on, or can be again."""

    what: str
    lost: bool = True


@dataclass(frozen=True)
class Reports:
    """The watch ends for this reason, if it may."""

    why: Why


Event = Say | Wait | Away | Works | Fails | Sees | Loses | Reports
