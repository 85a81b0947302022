"""Whether a flag that was turned off has ended a breach. Asked once the gates were watched for long enough without it.

"Not breached again" is not "recovered": after a breach by counts everything is counted anew, and a few hundred requests
cannot show what the breach had shown. So a gate that counts has recovered when it has proven health, or when what it
has counted since excludes what it was breached by: the ratio to stable, or (errors that are gone on both sides have no
ratio) the candidate's own share of bad events. If neither comes in time, nobody can tell, and that is said to a person.
A gate that looks back has recovered as soon as its answer is good, and has not when it is bad although everything that
it looks back at was without the feature.
"""

from collections.abc import Callable
from datetime import timedelta
from math import log

from rollout.durations import text
from rollout.gates import CeilingGate, CountingGate, Gate, ThresholdGate
from rollout.judge import evidence
from rollout.judge.evidence import Tally
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import SeenBad, Watched, WatchHealth, Watching
from rollout.queries import looks_back

MOST_RATIO = 1000.0
_SURE = log(100)  # looked at a few times, each time at 1 %


def seen_bad(gate: Gate, state: GateState) -> SeenBad | None:
    """How bad a gate that counts has seen the candidate; None for others."""
    if not isinstance(gate, CountingGate) or state.evidence is None or not state.evidence.total.n_c:
        return None
    total = state.evidence.total
    higher, lower = total.crossed(gate.bad)
    ratio = min(higher / lower, MOST_RATIO) if lower else MOST_RATIO
    return SeenBad(ratio=ratio, share=total.x_c / total.n_c if gate.bad == "up" else None)


def waits(order: WatchHealth, name: str) -> bool:
    """Whether a gate's breach does not end the watch: it still looks back at what was before the flag was off."""
    return name in order.recovering and not isinstance(order.gates[name], CountingGate)


def concluded(
    order: WatchHealth, watching: Watching, wanted: timedelta, behind: Callable[[GateState], bool]
) -> Watched | None:
    """Whether the watch is over, and how.

    Args:
        order: the watch; its `recovering` are the gates that must recover.
        watching: what it has seen.
        wanted: observed time that it takes at least.
        behind: whether a gate was not asked up to now.
    """
    asked = {name: watching.states[name] for name in order.recovering if name in watching.states}
    if any(behind(state) for state in asked.values()):
        return None
    least_ms = min((state.observed_ms for state in asked.values()), default=watching.observed_ms)
    watched = timedelta(milliseconds=least_ms)
    if watched < wanted:
        return None
    for name, state in asked.items():
        if state.verdict is Verdict.BREACHED or state.active:
            gate = order.gates[name]
            if isinstance(gate, ThresholdGate | CeilingGate) and watched < looks_back(gate.queries):
                return None  # what was before is still in it
            return Watched(why="breached", gate=name, reason=state.sentence, watching=watching)
    open_ = next((name for name in order.recovering if name not in asked or not _told(order, name, asked[name])), None)
    if open_ is None:
        return Watched(why="recovered", watching=watching)
    if watched < wanted + order.no_data_hold:
        return None
    return Watched(why="unclear", gate=open_, reason=_cannot_tell(order, open_, asked.get(open_)), watching=watching)


def _told(order: WatchHealth, name: str, state: GateState) -> bool:
    """Whether a gate that is not breached has recovered."""
    seen = order.recovering[name]
    if seen is None or name not in order.tests or state.verdict is Verdict.HEALTHY:
        return state.verdict is not Verdict.NO_DATA
    test, total = order.tests[name], state.evidence.total if state.evidence else Tally()
    ratio = evidence.not_excluded(test, total)
    return (ratio is not None and ratio < seen.ratio) or _excluded(total, seen.share, test.phi)


def _excluded(total: Tally, share: float | None, phi: float) -> bool:
    """Whether so few bad events of the candidate are as good as impossible at the share that was seen.

    By Chernoff's bound for the lower tail of a binomial distribution, P(X ≤ x) ≤ exp(-n·KL(x/n, share)), with counts
    divided by the dispersion; without trials, or at a share of 0, nothing is excluded.
    """
    if share is None or not total.n_c or not 0 < share < 1:
        return False
    now = total.x_c / total.n_c
    if now >= share:
        return False
    distance = (now * log(now / share) if now else 0.0) + (1 - now) * log((1 - now) / (1 - share))
    return total.n_c / phi * distance >= _SURE


def _cannot_tell(order: WatchHealth, name: str, state: GateState | None) -> str:
    if state is None:
        return "it is not watched any more, so nobody can tell whether it has recovered"
    seen, waited = order.recovering[name], text(order.no_data_hold)
    before = f"; {100 * seen.share:.3g} % were bad before" if seen and seen.share is not None else ""
    return f"{state.sentence}: too few to tell whether it has recovered, {waited} beyond the watch{before}"
