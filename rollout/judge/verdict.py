"""What a gate answers, and the evidence that travels with it."""

from enum import StrEnum

from pydantic import Field

from rollout.base import Told
from rollout.judge.bets import Bets
from rollout.judge.counters import Counters
from rollout.judge.evidence import Evidence
from rollout.judge.judgements import Canary
from rollout.judge.split import Split


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
        enough: undecided, and policy lets a stage be left so.
        counters: of a gate that counts: where its counters are; None before its first poll in a stage that watches it.
        evidence: of a gate that counts: what its counts prove, over the whole rollout.
        bets: of a ceiling that compares pods.
        canary: of a `kayenta` gate: which windows are judged, and how.
        split: of a gate that counts requests: what they say about the traffic itself.
    """

    watermark_ms: int
    observed_ms: int = 0
    active: dict[str, int] = Field(default_factory=dict)
    verdict: Verdict = Verdict.NO_DATA
    sentence: str = "not asked yet"
    blind_since_ms: int | None = None
    enough: bool = False
    counters: Counters | None = None
    evidence: Evidence | None = None
    split: Split | None = None
    bets: Bets | None = None
    canary: Canary | None = None

    @property
    def passes(self) -> bool:
        """Whether a stage may be left with this answer."""
        return self.verdict is Verdict.HEALTHY or (self.verdict is Verdict.UNDECIDED and self.enough)

    def forgiven(self, totals: bool = False) -> "GateState":  # noqa: FBT001, FBT002 - reads well at its only call
        """After a person has looked at what it proved: it has proved nothing yet; an experiment's totals are kept."""
        if self.evidence is None:
            return self
        return self.model_copy(update={"evidence": Evidence(total=self.evidence.total) if totals else None})

    def parked(self) -> "GateState | None":
        """What is kept of a gate while no stage watches it: evidence only; what happens meanwhile is not its affair."""
        if self.evidence is None:
            return None
        return GateState(
            watermark_ms=self.watermark_ms, verdict=Verdict.UNDECIDED, evidence=self.evidence, sentence=self.sentence
        )
