"""What "recovered" takes, once a flag is off: more than that nothing was breached again."""

from datetime import timedelta
from typing import Any

import pytest

from rollout import mitigating
from rollout.decide import Mitigate, Shift, Watch, decide
from rollout.gates import ErrorRatioGate
from rollout.happened import Breach, Phase
from rollout.judge.evidence import Evidence, Tally
from rollout.judge.evidence import Test as JudgedBy
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import FlagTurnedOff, SeenBad, WatchHealth
from rollout.progress import Progress
from rollout.recovery import seen_bad
from rollout.spec import RolloutSpec
from rollout.watch import conclude
from tests.rollout.given import MINUTE, NOW, NOW_MS, baking, both, planned, saw, spec, state
from tests.rollout.watches import order, watching

FLAG = {"kind": "flagd", "connection": "flags", "key": "feature"}
ERRORS = {"kind": "error-ratio", "requests": "r", "errors": "e"}
BAD = Tally(n_c=2_000, x_c=200, n_b=20_000, x_b=60)  # 10 % against 0.3 %: 33 times


def counted(total: Tally, verdict: Verdict = Verdict.UNDECIDED, observed: timedelta = 5 * MINUTE) -> GateState:
    found = Evidence(total=total, here=total, stage=0)
    return state(verdict, observed=observed, active={}, evidence=found, sentence="errors: so many")


def without_flag(total: Tally, verdict: Verdict = Verdict.UNDECIDED, observed: timedelta = 5 * MINUTE) -> Any:
    """How a watch ends with the flag off, in which a gate has counted so much since."""
    asked: WatchHealth = order(
        gates={"errors": ErrorRatioGate.model_validate(ERRORS)},
        tests={"errors": JudgedBy()},
        recovering={"errors": SeenBad(ratio=33, share=0.1)},
        bake=5 * MINUTE,
    )
    seen = {"errors": counted(total, verdict, observed)}
    return conclude(asked, watching(seen).model_copy(update={"states": seen}), None, NOW_MS)


def test_counts_that_exclude_what_was_seen_have_recovered() -> None:
    assert without_flag(Tally(1_500, 4, 15_000, 45)).why == "recovered"


@pytest.mark.parametrize("total", [Tally(0, 0, 15_000, 45), Tally(30, 0, 500, 1), Tally(85, 8, 1_600, 5)])
def test_a_few_requests_are_no_recovery_and_a_person_is_told_after_a_while(total: Tally) -> None:
    assert without_flag(total) is None
    late = without_flag(total, observed=11 * MINUTE)
    assert late.why == "unclear"
    assert "too few to tell whether it has recovered" in late.reason


def test_a_gate_that_has_proven_health_has_recovered() -> None:
    assert without_flag(Tally(60, 0, 600, 2), Verdict.HEALTHY).why == "recovered"


def test_a_gate_that_nobody_watches_any_more_has_not_recovered() -> None:
    asked = order(recovering={"gone": None}, bake=MINUTE)
    assert conclude(asked, watching(observed_ms=60_000), None, NOW_MS) is None
    late = conclude(asked, watching(observed_ms=600_000), None, NOW_MS)
    assert late is not None
    assert (late.why, late.gate) == ("unclear", "gone")


def test_a_gate_that_looks_back_is_asked_when_nothing_of_before_is_left_in_it() -> None:
    bad = {"errors": state(Verdict.BREACHED, observed=2 * MINUTE)}  # its query has a range of five minutes
    usual = spec(mitigations=[])
    asked = order(gates=usual.gates, recovering={"errors": None}, bake=MINUTE)
    calm = {"conversion": state(observed=2 * MINUTE)}
    assert conclude(asked, watching().model_copy(update={"states": bad | calm}), None, NOW_MS) is None
    over = {"errors": state(Verdict.BREACHED, observed=6 * MINUTE)}
    ended = conclude(asked, watching().model_copy(update={"states": over | calm}), None, NOW_MS)
    assert ended is not None
    assert (ended.why, ended.gate) == ("breached", "errors")


def test_errors_that_are_gone_on_both_sides_have_recovered_once_they_would_have_been_seen() -> None:
    assert without_flag(Tally(40, 0, 900, 0)) is None
    assert without_flag(Tally(45, 0, 900, 0)).why == "recovered"  # 0.9^45 is less than one in a hundred


def test_how_bad_it_was_is_what_the_counts_said() -> None:
    gate = ErrorRatioGate.model_validate(ERRORS)
    seen = seen_bad(gate, counted(BAD))
    assert seen is not None
    assert (round(seen.ratio, 1), seen.share) == (33.3, 0.1)
    assert seen_bad(gate, counted(Tally(100, 5, 1000, 0))) == SeenBad(ratio=1000, share=0.05)
    assert seen_bad(gate, state()) is None


# ── From the breach to the flag ─────────────────────────────────────────────────────────────────


def flagged(**changes: Any) -> RolloutSpec:
    mitigation = {"when": ["errors"], "flag": FLAG, "then_watch": "5m"} | changes
    return spec(mitigations=[mitigation])


def breached(wanted: RolloutSpec, states: dict[str, GateState] | None = None) -> Progress:
    bad = saw("breached", states or both(Verdict.BREACHED), gate="errors", reason="it is bad")
    return baking(1, planned(wanted)).watched(bad, wanted, NOW, counted=True)


def off(progress: Progress, wanted: RolloutSpec) -> Progress:
    return mitigating.turned_off(progress, FlagTurnedOff(by_us=True, proof="off"), wanted, NOW)


def test_what_else_is_named_or_beyond_its_limit_already_must_recover_and_not_end_the_watch() -> None:
    named = flagged(when=["errors", "conversion"])
    gates = off(breached(named), named).breach
    assert gates is not None
    assert {*gates.gates} == {"errors", "conversion"}
    only = flagged()
    pending = both(Verdict.BREACHED) | {"conversion": state(Verdict.UNDECIDED)}
    gates = off(breached(only, pending), only).breach
    assert gates is not None
    assert {*gates.gates} == {"errors", "conversion"}


def test_a_gate_that_says_hold_goes_back_when_its_flag_did_not_help() -> None:
    wanted = spec(mitigations=[{"when": ["conversion"], "flag": FLAG, "then_watch": "5m"}])
    bad = saw("breached", both(), gate="conversion", reason="too few")
    there = baking(1, planned(wanted)).watched(bad, wanted, NOW, counted=True)
    again = off(there, wanted).watched(bad, wanted, NOW, counted=True)
    assert again.stop is not None
    assert again.stop.outcome is Phase.ROLLED_BACK
    untried = mitigating.not_turned_off(there, "HTTP 500", wanted, NOW)
    assert untried.stop is None
    assert untried.held is not None


def test_a_flag_that_was_being_turned_off_when_the_rollout_went_back_is_on_record() -> None:
    wanted = flagged()
    (done,) = mitigating.called_off(breached(wanted), wanted).mitigated
    assert done.outcome == mitigating.MAYBE_OFF
    assert mitigating.called_off(off(breached(wanted), wanted), wanted).mitigated[0].outcome == ""


def test_nothing_that_moves_by_itself_goes_on_while_a_gate_is_breached() -> None:
    wanted = flagged()
    there = breached(wanted).but(moving="3 of 10 pods are new")
    assert isinstance(decide(planned(wanted), there, NOW), Mitigate)
    pausing = decide(planned(wanted), off(there, wanted), NOW)
    assert isinstance(pausing, Shift)
    assert pausing.pause
    paused = off(there, wanted).but(paused=True)
    assert isinstance(decide(planned(wanted), paused, NOW), Watch)


def test_a_breach_survives_the_wire() -> None:
    told = Breach(gate="errors", reason="r", mitigation=0, at=NOW, gates={"errors": SeenBad(ratio=3), "slow": None})
    assert Breach.model_validate_json(told.model_dump_json()) == told
