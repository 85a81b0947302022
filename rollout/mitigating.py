"""What happens when a gate is breached: a flag is turned off first, if one is named for it, else what the gate says.

    breached ─ a flag for this gate that was not tried yet? ─ yes ─▶ turn it off ─▶ watch ─▶ recovered: held, a person
        ▲           │ no                                                │ failed      │           goes on or aborts
        │           ▼                                                   ▼             │ still bad
        │      on_breach: rollback or hold                        next flag ◀─────────┘
        └──────────────────────────────────────────────────────────────────────────

Nothing here turns a flag on again. Evidence of before the flag was off is put away when it is proven off: it would
speak against a feature that nobody sees any more. Functions of the progress, apart from it because most rollouts have
none of this.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rollout import recovery
from rollout.durations import text
from rollout.happened import Breach, Mitigated, Phase
from rollout.judge import counters
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import FlagTurnedOff, Watched
from rollout.mitigations import Mitigation
from rollout.spec import RolloutSpec

if TYPE_CHECKING:
    from rollout.progress import Progress

RECOVERED = "recovered"
MAYBE_OFF = "it may be off now, and nothing turns it on again"


def concluded(progress: "Progress", result: Watched, spec: RolloutSpec, now: datetime) -> "Progress":
    """A watch ended with a breach, or one with a flag off ended otherwise."""
    match result.why:
        case "recovered":
            return recovered(progress, spec, now)
        case "unclear":
            return unclear(progress, result.gate, result.reason, spec, now)
        case _:
            return breached(progress, result.gate, result.reason, spec, now)


def breached(progress: "Progress", gate: str | None, reason: str, spec: RolloutSpec, now: datetime) -> "Progress":
    """A gate says that the candidate is bad, or (None) its pool is dead."""
    if progress.breach is not None:
        progress = _settled(progress, f"did not help: {reason}")
    if gate is None:
        return progress.but(breach=None).stopped(Phase.ROLLED_BACK, reason, now)
    following = _following(progress, gate, spec)
    if following is None:
        return _on_breach(progress, gate, reason, spec, now)
    before = progress.breach.gates if progress.breach else {}
    state = progress.gates.get(gate)
    worse = recovery.seen_bad(spec.gates[gate], state) if state else None
    gates = {**before, gate: worse}
    return progress.but(breach=Breach(gate=gate, reason=reason, mitigation=following, at=now, gates=gates))


def turned_off(progress: "Progress", told: FlagTurnedOff, spec: RolloutSpec, now: datetime) -> "Progress":
    """A flag is proven off, by us or by somebody else a moment ago: from here on the gates are asked anew."""
    breach = progress.breach
    if breach is None:
        return progress
    if not told.helps:
        who = f" by {told.changed_by}" if told.changed_by else ""
        return not_turned_off(progress, f"it was off already{who}, so it is not what is wrong", spec, now)
    done = _record(progress, spec).model_copy(update={"off_at": now, "proof": told.proof})
    gates = breach.gates | dict.fromkeys(set(_touched(progress, spec, breach)) - set(breach.gates))
    anew = {name: _anew(state, now, forget=name in gates) for name, state in progress.gates.items()}
    note = "" if told.by_us else f", which {told.changed_by or 'somebody else'} had turned off"
    return progress.but(
        breach=breach.model_copy(update={"off": True, "watched": timedelta(), "gates": gates}),
        mitigated=(*progress.mitigated, done),
        gates=anew,
        moved_at=now,
    ).noted(f"gate {breach.gate}: {breach.reason}: flag {done.flag} is off{note}, proven: {told.proof}")


def _touched(progress: "Progress", spec: RolloutSpec, breach: Breach) -> list[str]:
    """Gates besides the breached ones that may still see what was before the flag was off.

    Those that the mitigation names, and those that were beyond their limit already: their `for:` goes on.
    """
    named = spec.mitigations[breach.mitigation].when
    return sorted(name for name, state in progress.gates.items() if name in named or state.active)


def not_turned_off(
    progress: "Progress", why: str, spec: RolloutSpec, now: datetime, *, maybe_off: bool = False
) -> "Progress":
    """A flag could not be turned off, or that could not be proven: the next one, or what the gate says."""
    breach = progress.breach
    if breach is None:
        return progress
    why = f"{why}; {MAYBE_OFF}" if maybe_off else why
    done = _record(progress, spec).model_copy(update={"outcome": why})
    tried = progress.but(mitigated=(*progress.mitigated, done)).noted(f"flag {done.flag} was of no use: {why}")
    following = _following(tried, breach.gate, spec)
    if following is None:
        return _on_breach(tried, breach.gate, breach.reason, spec, now)
    return tried.but(breach=breach.model_copy(update={"mitigation": following, "off": False}))


def recovered(progress: "Progress", spec: RolloutSpec, now: datetime) -> "Progress":
    """No gate is breached any more with the flag off: the release stays, and a person decides."""
    breach = progress.breach
    if breach is None:
        return progress
    mitigation = spec.mitigations[breach.mitigation]
    said = "; ".join(f"{name}: {progress.gates[name].sentence}" for name in breach.gates if name in progress.gates)
    reason = (
        f"gate {breach.gate} was breached ({breach.reason}); flag {mitigation.flag} was turned off, and after "
        f"{text(mitigation.then_watch)} without it the gate has recovered ({said}): `resume` goes on with it off"
    )
    return _settled(progress, RECOVERED).but(breach=None).hold(reason, None, now)


def unclear(progress: "Progress", gate: str | None, reason: str, spec: RolloutSpec, now: datetime) -> "Progress":
    """Nobody can tell whether the flag has helped: a person must look."""
    breach = progress.breach
    if breach is None:
        return progress
    flag = spec.mitigations[breach.mitigation].flag
    told = f"gate {breach.gate} was breached ({breach.reason}); flag {flag} was turned off; gate {gate}: {reason}"
    return _settled(progress, f"cannot be told: {reason}").but(breach=None).hold(told, None, now)


def called_off(progress: "Progress", spec: RolloutSpec) -> "Progress":
    """The rollout goes back while a flag is being turned off: it may be off from now on, and stays so."""
    if progress.breach is None or progress.breach.off:
        return progress
    done = _record(progress, spec).model_copy(update={"outcome": MAYBE_OFF})
    return progress.but(mitigated=(*progress.mitigated, done)).noted(
        f"flag {done.flag} was being turned off: {MAYBE_OFF}"
    )


def watched(breach: Breach, observed: timedelta) -> Breach:
    """How long it has been watched; more than before, whatever interrupted the watch."""
    return breach.model_copy(update={"watched": max(breach.watched, observed)}) if breach.off else breach


def bakes_kept(progress: "Progress", result: Watched) -> dict[str, GateState]:
    """What a watch has seen; of one with a flag off, without its clock, which is not the bake's."""
    states = result.watching.states
    if progress.breach is None:
        return states
    kept = {name: state.observed_ms for name, state in progress.gates.items()}
    return {name: state.model_copy(update={"observed_ms": kept.get(name, 0)}) for name, state in states.items()}


def clocked(progress: "Progress") -> dict[str, GateState]:
    """The gates' states for the next watch; with a flag off, on its own clock and not the bake's."""
    if progress.breach is None:
        return progress.gates
    watched_ms = round(progress.breach.watched.total_seconds() * 1000)
    return {name: state.model_copy(update={"observed_ms": watched_ms}) for name, state in progress.gates.items()}


def current(progress: "Progress", spec: RolloutSpec) -> Mitigation | None:
    """The mitigation that is being applied or watched."""
    return spec.mitigations[progress.breach.mitigation] if progress.breach else None


def _following(progress: "Progress", gate: str, spec: RolloutSpec) -> int | None:
    """The first mitigation for a gate whose flag was not tried yet in this rollout."""
    tried = {each.flag for each in progress.mitigated}
    found = (i for i, each in enumerate(spec.mitigations) if gate in each.when and str(each.flag) not in tried)
    return next(found, None)


def _record(progress: "Progress", spec: RolloutSpec) -> Mitigated:
    assert progress.breach is not None  # noqa: S101 - a bug, not a state
    breach = progress.breach
    return Mitigated(mitigation=breach.mitigation, flag=str(spec.mitigations[breach.mitigation].flag), gate=breach.gate)


def _settled(progress: "Progress", outcome: str) -> "Progress":
    """Say of the last flag what it has brought."""
    if progress.breach is None or not progress.breach.off:
        return progress
    *before, last = progress.mitigated
    return progress.but(mitigated=(*before, last.model_copy(update={"outcome": outcome})))


def _on_breach(progress: "Progress", gate: str, reason: str, spec: RolloutSpec, now: datetime) -> "Progress":
    tried = [each.flag for each in progress.mitigated if each.gate == gate and each.off_at]
    also = f", also with {' and '.join(tried)} off" if tried else ""
    ended = progress.but(breach=None)
    if spec.gates[gate].on_breach == "hold" and not tried:  # a flag that did not help leads back
        return ended.hold(f"gate {gate}: {reason}{also}", None, now, acknowledged=gate)
    return ended.stopped(Phase.ROLLED_BACK, f"gate {gate}: {reason}{also}", now, gate=gate)


def _anew(state: GateState, now: datetime, *, forget: bool) -> GateState:
    """A gate with the flag off: what happened before, and was not counted yet, is held against nobody.

    What a scrape brings that comes after now may have happened before: counting begins with the one after that. A gate
    that has to recover proves everything again; its `for:` clock goes on, as the rule's would.
    """
    known = state.counters
    begun = known and counters.begin(round(now.timestamp() * 1000) + known.scrape_ms)
    if not forget:
        return state.model_copy(update={"counters": begun}) if begun else state
    fresh = {"evidence": None, "bets": None, "canary": None, "counters": begun}
    return state.model_copy(update={**fresh, "verdict": Verdict.UNDECIDED, "sentence": "asked anew with the flag off"})
