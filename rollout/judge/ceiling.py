"""`ceiling` with `worse_than`: the candidate's pods against stable's, block by block, as bets (`bets.py`).

A ceiling with a limit of its own is an ordinary rule and judged by `threshold.py`. There is no proof of health here: a
gate that has bet and not won says "healthy", and it can do no more than hold.
"""

from dataclasses import replace
from math import isfinite

from rollout.durations import text
from rollout.gates.ceiling import CeilingGate
from rollout.judge import labels
from rollout.judge.bets import ENOUGH, LEAST_STABLE, Bets, compared
from rollout.judge.threshold import Vector
from rollout.judge.verdict import GateState, Verdict


def fold(
    gate: CeilingGate, state: GateState, bets: Bets, at_ms: int, vector: Vector, *, counting: bool
) -> tuple[GateState, Bets]:
    """Fold one evaluation: the answer for people and policy, and what is carried on.

    The first block begins at the state's watermark; block k covers (begin + k·block, begin + (k+1)·block].

    Args:
        gate: a ceiling with `worse_than`.
        state: the state before.
        bets: what was carried on; a fresh one to begin with.
        at_ms: evaluation time, Unix milliseconds; must be later than the state's watermark.
        vector: one value per pod of both versions.
        counting: whether this tick counts towards the bake.

    Raises:
        ValueError: the tick is not later than the watermark, or the gate has no `worse_than`.
    """
    if gate.worse_than is None:
        msg = "a ceiling without worse_than is judged as a threshold"
        raise ValueError(msg)
    if at_ms <= state.watermark_ms:
        msg = f"evaluation at {at_ms} ms is not after the watermark {state.watermark_ms} ms"
        raise ValueError(msg)
    missing = unfit(gate, vector)
    after = _folded(gate, gate.worse_than, bets, state.watermark_ms, at_ms, vector)
    verdict = _verdict(after, blind=missing is not None)
    told = GateState(
        watermark_ms=at_ms,
        observed_ms=state.observed_ms + (at_ms - state.watermark_ms if counting and missing is None else 0),
        verdict=verdict,
        sentence=missing if missing and verdict is Verdict.NO_DATA else _sentence(gate, after),
        blind_since_ms=None if missing is None else state.blind_since_ms or at_ms,
    )
    return told, after


def unfit(gate: CeilingGate, vector: Vector) -> str | None:
    """Why pods cannot be compared now, None if they can; for preflight too."""
    label, sides = gate.versions.label, (gate.versions.candidate, gate.versions.stable)
    candidates, stables = (_finite(gate, vector, side) for side in sides)
    if not vector:
        return "the query answers nothing"
    if not candidates:
        return f'no pod of the candidate answers ({label}="{sides[0]}")'
    if len(stables) < LEAST_STABLE:
        return f'{len(stables)} of stable\'s pods answer ({label}="{sides[1]}"), {LEAST_STABLE} are needed to compare'
    return None


def _finite(gate: CeilingGate, vector: Vector, version: str) -> dict[str, float]:
    label = gate.versions.label
    return {pod: value for pod, value in vector.items() if isfinite(value) and labels.parsed(pod).get(label) == version}


def _folded(gate: CeilingGate, worse_than: float, bets: Bets, from_ms: int, at_ms: int, vector: Vector) -> Bets:
    block_ms = round(gate.block.total_seconds() * 1000)
    since_ms = from_ms if bets.since_ms is None else bets.since_ms
    running = replace(bets, since_ms=since_ms)
    if at_ms > since_ms + block_ms:  # its last tick never came
        since_ms += (at_ms - 1 - since_ms) // block_ms * block_ms
        running = _closed(running, worse_than, since_ms)
    candidates = _finite(gate, vector, gate.versions.candidate)
    running = replace(
        running,
        broken=running.broken or not candidates,
        candidates=_with(running.candidates, candidates),
        stables=_with(running.stables, _finite(gate, vector, gate.versions.stable)),
    )
    return _closed(running, worse_than, at_ms) if at_ms == since_ms + block_ms else running


def _with(known: dict[str, tuple[float, ...]], fresh: dict[str, float]) -> dict[str, tuple[float, ...]]:
    return known | {pod: (*known.get(pod, ()), value) for pod, value in fresh.items()}


def _closed(bets: Bets, worse_than: float, next_ms: int) -> Bets:
    empty = replace(bets, since_ms=next_ms, broken=False, candidates={}, stables={})
    if bets.broken or not bets.candidates or len(bets.stables) < LEAST_STABLE:
        return replace(empty, last="skipped")
    worse, own, quarter = compared(bets.candidates, bets.stables, worse_than)
    shown = replace(empty, candidate=own, stable=quarter)
    return replace(shown, last="bad", bad=bets.bad + 1) if worse else replace(shown, last="good", good=bets.good + 1)


def _verdict(bets: Bets, *, blind: bool) -> Verdict:
    if bets.value >= ENOUGH:
        return Verdict.BREACHED
    if blind:
        return Verdict.NO_DATA
    return Verdict.HEALTHY if bets.last == "good" else Verdict.UNDECIDED


def _sentence(gate: CeilingGate, bets: Bets) -> str:
    blocks = bets.bad + bets.good
    if not blocks:
        return f"the first block of {text(gate.block)} is not over, limit {gate.limit}"
    evidence = f"{bets.value:.4g}" if bets.value < 10 * ENOUGH else f"over {10 * ENOUGH:.0f}"
    skipped = "; the last block lacked samples and is not counted" if bets.last == "skipped" else ""
    return (
        f"{bets.candidate:.4g} against stable's {bets.stable:.4g}; worse in {bets.bad} of {blocks} blocks, "
        f"evidence {evidence} of {ENOUGH:g}{skipped} (limit: {gate.limit})"
    )
