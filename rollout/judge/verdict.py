"""What a gate answers, and the evidence that travels with it."""

from enum import StrEnum

from pydantic import Field

from rollout.base import Told


class Verdict(StrEnum):
    """The answer of a gate."""

    HEALTHY = "healthy"
    BREACHED = "breached"
    UNDECIDED = "undecided"
    NO_DATA = "no-data"


class GateState(Told):
    """Everything a gate knows: evidence, clock and last answer. A few hundred bytes; travels in heartbeats.

    Attributes:
        watermark_ms: time of the last evaluation folded in, Unix milliseconds; nothing before it is asked again.
        observed_ms: how much of the running bake this gate has seen data for, milliseconds.
        active: for each output label set that is bad now, since when (Prometheus' activeAt), Unix milliseconds.
        verdict: the answer at the watermark.
        sentence: the same with numbers, for people.
        blind_since_ms: first evaluation without data in the current gap, Unix milliseconds; None while data come.
    """

    watermark_ms: int
    observed_ms: int = 0
    active: dict[str, int] = Field(default_factory=dict)
    verdict: Verdict = Verdict.NO_DATA
    sentence: str = "not asked yet"
    blind_since_ms: int | None = None
