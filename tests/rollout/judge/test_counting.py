"""What an operator reads about counts, from raw samples through to the sentence."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.gates import CountingGate, LatencyGate
from rollout.judge import counting
from rollout.judge.counters import Series
from rollout.judge.counting import Counted, Question
from rollout.judge.evidence import Evidence
from rollout.judge.split import Split
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, LIGHT, NOW_MS
from tests.rollout.judge.shop import (
    HEALTHY,
    POLL,
    QUIET,
    SCRAPE,
    TENFOLD,
    Scrape,
    at,
    conversion,
    counter,
    cut,
    errors,
    fresh,
    poll,
    polls,
    question,
    shop,
)

CONVERTS = (200, 40, 200, 40)


def last(asked: Question, scrapes: list[Scrape]) -> GateState:
    """After a poll right at the last scrape."""
    return poll(asked, shop(scrapes), fresh(asked), at(len(scrapes)))


def verdicts(states: list[GateState]) -> set[Verdict]:
    return {state.verdict for state in states}


def only(seen: Counted, version: str) -> Counted:
    return Counted(*[[each for each in every if each.labels["version"] == version] for every in seen])


# ── Breached, healthy, undecided ────────────────────────────────────────────────────────────────


def test_a_candidate_with_ten_times_the_errors_is_breached_within_two_scrapes() -> None:
    states = polls(question(), shop([TENFOLD] * 2), 2)
    assert [state.verdict for state in states[:-1]] == [Verdict.UNDECIDED] * 5
    assert states[-1].verdict is Verdict.BREACHED
    assert states[-1].sentence == (
        "errors: candidate 18 of 150 (12 %), stable 38 of 2850 (1.3 %): 9× more than stable, evidence 1149"
    )


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.0003])
def test_it_is_breached_from_the_very_evidence_that_its_share_of_the_budget_asks_for(alpha: float) -> None:
    states = polls(question(alpha=alpha), shop([(75, 3, 1425, 19)] * 40), 40)
    assert verdicts(states) == {Verdict.UNDECIDED, Verdict.BREACHED}
    for state in states:
        assert state.evidence is not None
        assert (state.verdict is Verdict.BREACHED) == (state.evidence.value >= 1 / alpha)


def test_a_healthy_candidate_is_proven_in_minutes_and_never_blamed() -> None:
    states = polls(question(), shop([HEALTHY] * 20), 20)
    assert verdicts(states) == {Verdict.UNDECIDED, Verdict.HEALTHY}
    assert states[-1].sentence == (
        "errors: candidate 20 of 1500 (1.3 %), stable 380 of 28500 (1.3 %): proven not 2× worse"
    )
    assert states[-1].passes


def test_until_then_it_says_how_bad_it_could_still_be() -> None:
    assert last(question(), [HEALTHY] * 5).sentence == (
        "errors: candidate 5 of 375 (1.3 %), stable 95 of 7125 (1.3 %): not excluded: up to 2.9× worse (95 % sure)"
    )
    assert last(question(), [(1, 0, 19, 1)]).sentence == (
        "errors: candidate 0 of 1 (0 %), stable 1 of 19 (5.3 %): nothing excluded yet"
    )
    assert last(question(), [(1, 0, 19, 0)]).sentence == (
        "errors: candidate 0 of 1 (0 %), stable 0 of 19 (0 %): none on either side, so there is no ratio yet"
    )
    assert last(question(), [(0, 0, 19, 0)]).sentence == (
        "errors: candidate 0 of 0, stable 0 of 19 (0 %): nothing to compare yet"
    )


def test_stable_without_errors_is_said_so() -> None:
    assert last(question(), [(75, 9, 1425, 0)] * 4).sentence.endswith(": stable has none, evidence 1833")


def test_fewer_conversions_are_told_as_fewer() -> None:
    asked = question(conversion(), alpha=0.05)
    assert last(asked, [(200, 20, 200, 40)] * 10).sentence.startswith(
        "successes: candidate 40 of 400 (10 %), stable 80 of 400 (20 %): 2× fewer than stable, evidence 27"
    )
    assert ": the candidate has none, evidence" in last(asked, [(200, 0, 200, 40)] * 10).sentence
    assert last(asked, [CONVERTS] * 3).sentence.endswith("× fewer (95 % sure)")
    assert last(asked, [CONVERTS] * 40).sentence.endswith(": proven not 1.5× worse")


def test_more_conversions_are_never_a_breach() -> None:
    states = polls(question(conversion(), alpha=0.05), shop([(200, 60, 200, 40)] * 20), 20)
    assert Verdict.BREACHED not in verdicts(states)
    assert states[-1].verdict is Verdict.HEALTHY


def test_an_outage_that_both_share_is_nobodys() -> None:
    outage = [HEALTHY] * 4 + [(75, 60, 1425, 1140)] * 6 + [HEALTHY] * 10
    assert Verdict.BREACHED not in verdicts(polls(question(), shop(outage), 20))


def test_one_scrape_of_errors_alone_is_no_breach() -> None:
    burst = [HEALTHY] * 2 + [(75, 75, 1425, 19)] + [HEALTHY] * 10
    assert Verdict.BREACHED not in verdicts(polls(question(alpha=0.001), shop(burst), 13))


def test_slow_requests_are_those_beyond_the_bucket() -> None:
    gate = LatencyGate.model_validate({"histogram": "h", "slower_than": "300ms"})
    trials = [counter("canary", [75] * 4), counter("stable", [1425] * 4)]
    within = [counter("canary", [60] * 4, le="0.3"), counter("stable", [1410] * 4, le="0.3")]
    asked = question(gate)
    told = poll(asked, Counted(trials, within), fresh(asked), at(4))
    assert told.verdict is Verdict.BREACHED
    assert told.sentence.startswith("requests slower than 0.3s: candidate 30 of 150 (20 %), stable 30 of 2850 (1.1 %)")


# ── No data is neither good nor bad ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("stable", "no samples of candidate for 45s"),
        ("canary", "no samples of stable for 45s"),
        ("nobody", "no samples of stable and candidate for 15s"),
    ],
)
@pytest.mark.parametrize("scrape", [HEALTHY, (7, 0, 10, 0)])
@pytest.mark.parametrize("gate", [errors(), conversion()])
def test_a_side_that_nobody_scrapes_is_missing_and_never_health(
    gate: CountingGate, scrape: Scrape, version: str, sentence: str
) -> None:
    """Whoever is not scraped may well count: no routing failure is made of it."""
    states = polls(question(gate), only(shop([scrape] * 16), version), 16)
    assert verdicts(states) == {Verdict.UNDECIDED, Verdict.NO_DATA}
    assert states[-1].sentence == sentence
    first = next(state for state in states if state.verdict is Verdict.NO_DATA)
    assert states[-1].blind_since_ms == first.blind_since_ms == first.watermark_ms
    assert not any(state.passes for state in states if state.verdict is Verdict.NO_DATA)
    assert states[-1].observed_ms == 0


def test_a_side_that_falls_silent_is_missing_after_three_scrapes_and_seen_again_with_its_next() -> None:
    trials, seen = [counter("canary", [1] * 40), counter("stable", [19] * 40)], []
    trials[0] = Series(trials[0].labels, [point for point in trials[0].points if not at(10) < point[0] < at(30)])
    for number, state in enumerate(polls(question(), Counted(trials, []), 40)):
        seen.append((number // 3 + 1, state.verdict))
    assert {scrape for scrape, verdict in seen if verdict is Verdict.NO_DATA} == set(range(14, 31))


def test_a_candidate_that_counts_nothing_while_stable_counts_is_a_routing_failure() -> None:
    states = polls(question(), shop([(0, 0, 1425, 19)] * 2), 2)
    assert states[-1].verdict is Verdict.BREACHED
    assert states[-1].sentence == (
        "routing: the candidate counts nothing while stable counted 1425 requests; "
        "5 % of the traffic should have reached it"
    )


def test_sessions_are_not_requests_and_no_routing_failure_is_read_off_them() -> None:
    states = polls(question(conversion()), only(shop([HEALTHY] * 20), "stable"), 20)
    assert Verdict.BREACHED not in verdicts(states)
    assert states[-1].split == Split()


def test_nothing_at_all_is_asked_for_ever_and_says_nothing() -> None:
    states = polls(question(), Counted([], []), 40)
    assert verdicts(states) == {Verdict.UNDECIDED, Verdict.NO_DATA}
    assert states[-1].evidence == Evidence()


def odd(kind: str) -> Counted:
    """Healthy traffic, told badly."""
    seen = shop([HEALTHY] * 30)

    def told(series: Series) -> Series:
        first, *points = series.points
        match kind:
            case "nan":
                points = [(ms, nan if number % 3 else value) for number, (ms, value) in enumerate(points)]
            case "reset":
                points = [(ms, value if ms < at(10) else value - points[9][1]) for ms, value in points]
            case "skew":
                late = SCRAPE if series.labels["version"] == "canary" else 0
                points = [(ms - late, value) for ms, value in points]
            case "frozen":
                points = [(ms, first[1]) for ms, _ in points]
            case "twice":
                points = [point for point in points for _ in range(2)]
        return Series(series.labels, [first, *[point for point in points if point[0] > first[0]]])

    return Counted(*[[told(each) for each in every] for every in seen])


@pytest.mark.parametrize("kind", ["nan", "reset", "skew", "twice"])
def test_odd_samples_of_a_healthy_candidate_never_blame_it(kind: str) -> None:
    states = polls(question(), odd(kind), 30)
    assert Verdict.BREACHED not in verdicts(states)
    known = states[-1].evidence
    assert known is not None
    assert known.worse.value < 2
    assert known.total.n_c == pytest.approx(75 * 30, rel=0.15)


def test_counters_that_stand_still_prove_nothing() -> None:
    states = polls(question(), odd("frozen"), 30)
    assert verdicts(states) == {Verdict.UNDECIDED}
    assert states[-1].sentence.endswith("nothing to compare yet")
    assert not any(state.passes for state in states)


def test_pods_that_come_and_go_are_counted_and_never_blamed() -> None:
    trials, failed = [], []
    for version, n, x in (("canary", 75, 1), ("stable", 1425, 19)):
        for pod in range(6):
            every = (counter(version, [each] * 7, since=5 * pod, instance=f"{version}-{pod}") for each in (n, x))
            born, erring = [Series(each.labels, [(ms, v - 1000) for ms, v in each.points]) for each in every]
            trials.append(born)
            failed.append(erring)
    states = polls(question(), Counted(trials, failed), 32)
    known = states[-1].evidence
    assert known is not None
    assert Verdict.BREACHED not in verdicts(states)
    assert known.total.n_c == pytest.approx(6 * 7 * 75, rel=0.1)


# ── Waiting until counts have matured ───────────────────────────────────────────────────────────


def test_conversions_are_not_judged_before_sessions_have_had_their_time() -> None:
    asked = question(conversion(matures_in="2m"))
    states = polls(asked, shop([(200, 0, 200, 40)] * 8 + [CONVERTS] * 40), 48)
    assert states[0].sentence == "waits 1m55s until counts have matured"
    assert states[22].sentence == "waits 5s until counts have matured"
    assert {state.verdict for state in states[:23]} == {Verdict.UNDECIDED}
    assert states[22].evidence == Evidence()
    assert Verdict.BREACHED not in verdicts(states)
    known = states[-1].evidence
    assert known is not None
    assert known.total == (40 * 200, 40 * 40, 40 * 200, 40 * 40)


def test_time_that_has_to_pass_is_part_of_the_bake_but_not_if_nobody_polled() -> None:
    asked = question(conversion(matures_in="2m"))
    assert polls(asked, shop([CONVERTS] * 8), 7)[-1].observed_ms == 7 * SCRAPE
    slept = poll(asked, shop([CONVERTS] * 8), fresh(asked), at(7))
    assert slept.observed_ms == 2 * POLL
    idle = asked._replace(counting=False)
    assert polls(idle, shop([CONVERTS] * 8), 7)[-1].observed_ms == 0


def test_the_wait_begins_when_the_percent_was_proven_and_not_when_somebody_resumed() -> None:
    asked = question(conversion(matures_in="2m"), arrived_ms=NOW_MS - 60_000)
    assert counting.ripe_ms(asked) == NOW_MS + 60_000
    assert polls(asked, shop([CONVERTS] * 3), 3)[-1].sentence == "waits 15s until counts have matured"


def test_a_cold_cache_is_not_held_against_the_candidate() -> None:
    gate = LatencyGate.model_validate({"histogram": "h", "slower_than": "1s", "warm_up": "60s"})
    trials = [counter("canary", [75] * 30), counter("stable", [1425] * 30)]
    within = [counter("canary", [0] * 4 + [75] * 26, le="1"), counter("stable", [1425] * 30, le="1")]
    states = polls(question(gate), Counted(trials, within), 30)
    assert Verdict.BREACHED not in verdicts(states)
    known = states[-1].evidence
    assert known is not None
    assert (known.total.n_c, known.total.x_c) == (26 * 75, 0)


# ── What may be left undecided ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("gate", "undecided", "enough"),
    [
        (errors(min_requests=150), "advance", True),
        (errors(min_requests=151), "advance", False),
        (errors(min_requests=1), "extend", False),
        (errors(min_requests=1), "hold", False),
        (errors(min_requests=1, require="proof"), "advance", False),
    ],
)
def test_an_undecided_stage_may_be_left_if_policy_says_so_and_the_candidate_was_asked_often_enough(
    gate: CountingGate, undecided: str, enough: bool
) -> None:
    told = last(question(gate, undecided=undecided), [HEALTHY] * 2)
    assert (told.verdict, told.enough, told.passes) == (Verdict.UNDECIDED, enough, enough)


def test_requests_of_an_earlier_stage_are_not_enough_for_this_one() -> None:
    first = last(question(), [HEALTHY] * 2)
    second = question(stage=1, start=0.1, since_ms=at(2), arrived_ms=at(2))
    there = poll(second, shop([HEALTHY] * 2), counting.entered(second, first), at(2) + POLL)
    assert (there.enough, there.passes) == (False, False)
    assert there.sentence == "errors: candidate 0 of 0, stable 0 of 0: nothing to compare yet"
    begun = poll(second, shop([HEALTHY] * 2 + [(10, 0, 10, 0)]), there, at(3))
    assert begun.evidence is not None
    assert (begun.evidence.here.n_c, begun.enough) == (10, False)


def test_proof_of_an_earlier_stage_is_not_proof_of_this_one() -> None:
    first = last(question(), [HEALTHY] * 20)
    assert first.verdict is Verdict.HEALTHY
    second = question(stage=1, start=0.1, since_ms=at(20), arrived_ms=at(20))
    states = polls(second, shop([HEALTHY] * 22), 22, counting.entered(second, first))
    assert verdicts(states) == {Verdict.UNDECIDED}


def test_a_breach_is_told_with_the_counts_of_the_whole_rollout() -> None:
    first = last(question(), [TENFOLD] * 2)
    second = question(stage=1, start=0.1, since_ms=at(2), arrived_ms=at(2))
    told = poll(second, shop([TENFOLD] * 4), counting.entered(second, first), at(4))
    assert told.verdict is Verdict.BREACHED
    assert told.sentence.startswith("errors: candidate 27 of 225 (12 %)")


# ── Between stages ──────────────────────────────────────────────────────────────────────────────


def test_a_gate_that_no_stage_watches_keeps_its_evidence_and_nothing_else() -> None:
    there = last(question(), [TENFOLD] * 2)
    parked = there.parked()
    assert parked is not None
    assert (parked.evidence, parked.sentence) == (there.evidence, there.sentence)
    assert (parked.counters, parked.split, parked.observed_ms, parked.verdict) == (None, None, 0, Verdict.UNDECIDED)
    assert not parked.passes
    assert GateState(watermark_ms=NOW_MS).parked() is None


def test_a_gate_that_is_watched_again_does_not_count_what_happened_meanwhile() -> None:
    parked = last(question(), [TENFOLD] * 2).parked()
    assert parked is not None
    later = question(stage=2, start=0.1, since_ms=at(40), arrived_ms=at(40))
    seen = shop([TENFOLD] * 2 + [(750, 700, 1425, 0)] * 38 + [HEALTHY] * 2)
    told = poll(later, seen, counting.entered(later, parked), at(42))
    assert told.evidence is not None
    assert told.evidence.here == (150, 2, 2850, 38)
    assert told.evidence.total == (300, 20, 5700, 76)


def test_entering_a_stage_goes_on_with_the_counters_unless_counts_must_mature() -> None:
    known = last(question(), [HEALTHY] * 2)
    plain = question(stage=1, since_ms=at(2), arrived_ms=at(2))
    assert counting.entered(plain, known).counters == known.counters
    waiting = question(conversion(matures_in="2m"), stage=1, since_ms=at(2), arrived_ms=at(2))
    anew = counting.entered(waiting, known)
    assert anew.counters is not None
    assert anew.counters.since_ms == at(2) + 120_000
    assert anew.evidence == known.evidence
    ripe = polls(waiting, shop([CONVERTS] * 14), 14, anew)[-1]
    resumed = waiting._replace(since_ms=at(14))
    assert counting.entered(resumed, ripe) == ripe


# ── It does not matter when one looks ───────────────────────────────────────────────────────────

SCRAPES = st.lists(st.sampled_from([HEALTHY, TENFOLD, QUIET, (75, 0, 0, 0), (0, 0, 1425, 9)]), min_size=1, max_size=14)


@given(SCRAPES, st.sets(st.integers(1, 14 * SCRAPE), max_size=9), st.booleans())
@HEAVY
def test_catching_up_after_a_crash_gives_the_state_of_a_watch_that_never_slept(
    scrapes: list[Scrape], cuts: set[int], slow: bool
) -> None:
    """Bit for bit, and read from its written form at every cut."""
    asked, written = question(alpha=1e-30), TypeAdapter(GateState)
    seen, end = shop(scrapes), at(len(scrapes))
    awake = fresh(asked)
    for now_ms in [*range(NOW_MS + POLL, end, POLL), end]:
        awake = poll(asked, seen, awake, now_ms)
    known = fresh(asked)
    for ms in sorted(cuts) if not slow else []:
        if NOW_MS + ms < end:
            known = poll(asked, seen, written.validate_json(written.dump_json(known)), NOW_MS + ms)
    known = poll(asked, seen, known, end)
    ignored = {"blind_since_ms"}  # first poll without data: that does depend on when one looks
    assert repr(known.model_dump(exclude=ignored)) == repr(awake.model_dump(exclude=ignored))


@given(SCRAPES)
@LIGHT
def test_no_traffic_makes_a_verdict_out_of_one_side(scrapes: list[Scrape]) -> None:
    alone = [(n_c, x_c, 0, 0) for n_c, x_c, _, _ in scrapes]
    for state in polls(question(), shop(alone), len(alone)):
        assert state.verdict is Verdict.UNDECIDED
        assert state.evidence is not None
        assert state.evidence.worse.value == pytest.approx(1)


def test_what_comes_again_is_not_counted_again() -> None:
    asked, seen = question(), shop([TENFOLD] * 4)
    once = poll(asked, seen, fresh(asked), at(4))
    again = counting.fold(asked, once, Counted(*[cut(each, 0, at(4)) for each in seen]), at(4))
    assert (again.evidence, again.counters, again.split) == (once.evidence, once.counters, once.split)
    assert again.verdict is once.verdict is Verdict.BREACHED


def test_a_state_without_counters_begins_at_the_watch() -> None:
    """Nobody has entered; an older worker's state."""
    told = counting.fold(question(), GateState(watermark_ms=NOW_MS), shop([HEALTHY] * 2), at(2))
    assert told.evidence is not None
    assert told.evidence.total.n_c == 150


# ── What would be excused or misread ────────────────────────────────────────────────────────────


def test_a_breach_that_nobody_was_awake_for_is_not_excused_by_what_came_later() -> None:
    """As for ticks (`watch.fold_gate`): a watch that had been awake would have ended."""
    traffic = [(750, 60, 14250, 142)] * 3 + [(750, 7, 14250, 142)] * 37
    asked, seen = question(), shop(traffic)
    assert Verdict.BREACHED in verdicts(polls(asked, seen, 40))
    slept = poll(asked, seen, fresh(asked), at(40))
    assert slept.verdict is Verdict.BREACHED
    assert slept.sentence.startswith("errors: candidate 120 of 1500 (8 %)")
    assert slept.evidence is not None
    assert slept.evidence.value < 1


def test_a_breach_that_nobody_was_awake_for_is_not_hidden_by_later_silence() -> None:
    asked = question(conversion(), alpha=0.05)
    seen = shop([(200, 10, 200, 40)] * 20)
    fell = [cut(every[:1], 0, at(8)) + list(every[1:]) for every in seen]
    assert any(state.verdict is Verdict.BREACHED for state in polls(asked, Counted(*fell), 8))
    assert poll(asked, Counted(*fell), fresh(asked), at(20)).verdict is Verdict.BREACHED


def test_a_stage_is_no_black_hole_for_what_an_earlier_one_did_not_count() -> None:
    """300 requests at 5 % prove nothing; nothing was sent at 50 % yet, and still it says "50 % should have"."""
    before = GateState(watermark_ms=NOW_MS, split=Split(since_ms=0, stable=300, missed=300))
    asked = question(stage=1, share=0.5)
    told = poll(asked, shop([HEALTHY]), counting.entered(asked, before), NOW_MS + POLL)
    assert told.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    "scrape",
    [
        (75, 75, 1425, 0),
        (750, 740, 14250, 100),
        (500, 498, 9500, 0),
    ],
)
def test_no_sentence_needs_a_physicist(scrape: Scrape) -> None:
    assert "e+02" not in last(question(), [scrape] * 2).sentence.split(", evidence")[0]


@pytest.mark.parametrize("asked", [question(), question(conversion())])
def test_what_was_compared_with_nothing_is_never_enough(asked: Question) -> None:
    """Stable is scraped and counts nothing (a header forces the candidate, or a label is wrong); all requests fail."""
    states = polls(asked._replace(forced=True), shop([(75, 75, 0, 0)] * 10), 10)
    assert states[-1].sentence.endswith("nothing to compare yet")
    assert not states[-1].passes


def test_what_was_served_before_the_percent_was_there_is_not_held_against_its_share() -> None:
    """Pods came first, for six scrapes, and nobody looked: the next poll brings all of it at once."""
    asked = question(share=0.25, arrived_ms=at(6))
    seen = shop([HEALTHY] * 6 + [(375, 4, 1125, 11)] * 4)
    told = poll(asked, seen, counting.entered(asked, GateState(watermark_ms=NOW_MS)), at(10))
    assert told.split is not None
    assert (told.split.candidate, told.split.stable) == (3 * 375, 3 * 1125)  # the first one began before
    assert told.evidence is not None
    assert told.evidence.total.n_c > 6 * 75  # but it is evidence like any other
