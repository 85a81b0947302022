"""Counting what pods really did, from what was scraped of them, however late, seldom or twice one looks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.errors import Misconfigured
from rollout.gates import Versions
from rollout.judge.counters import LOOK_BACK_MS, MOST_SERIES, Counters, Series, begin, fold, wanted_after
from rollout.judge.evidence import Batch
from tests.rollout.given import HEAVY, LIGHT, NOW_MS

SCRAPE = 15_000
SINCE = NOW_MS
WRITTEN = TypeAdapter(Counters)
VERSIONS = Versions()

Points = list[tuple[int, float]]


@dataclass
class Fake:
    """A pod as it really is: when it is scraped, and its counters at each scrape.

    Attributes:
        version: its version's label.
        name: its instance.
        trials: scrape number (0 is the one at or just before the start) → trials.
        events: the same; a number that is missing is a scrape without this series.
        phase: milliseconds by which its scrapes are later than the round's.
        also: further labels of the events.
    """

    version: str
    name: str = "1"
    trials: dict[int, float] = field(default_factory=dict)
    events: dict[int, float] = field(default_factory=dict)
    phase: int = 0
    also: dict[str, str] = field(default_factory=dict)

    def series(self, values: dict[int, float], **labels: str) -> Series:
        every = {"version": self.version, "job": "shop", "instance": self.name, **labels}
        return Series(
            every, [(SINCE + number * SCRAPE + self.phase, value) for number, value in sorted(values.items())]
        )


def line(*values: float | None, first: int = -1) -> dict[int, float]:
    """Values of consecutive scrapes, the first two at and before the start; None is a scrape that has none."""
    return {number: value for number, value in enumerate(values, first) if value is not None}


def cut(every: Sequence[Series], after: int, until: int) -> list[Series]:
    """What a metrics server answers."""
    kept = [Series(each.labels, [(at, value) for at, value in each.points if after < at <= until]) for each in every]
    return [each for each in kept if each.points]


@dataclass
class Watch:
    """Polls, each of which asks for what is wanted and folds it; the state takes the way of a heartbeat."""

    trials: Sequence[Series]
    events: Sequence[Series]
    good: bool = False
    counters: Counters = field(default_factory=lambda: begin(SINCE))
    batches: list[Batch] = field(default_factory=list)

    def poll(self, until: int, trials_until: int | None = None, events_until: int | None = None) -> "Watch":
        """Ask and fold; the two answers may be older than the question."""
        after = wanted_after(self.counters)
        self.counters, more = fold(
            WRITTEN.validate_json(WRITTEN.dump_json(self.counters)),
            VERSIONS,
            cut(self.trials, after, until if trials_until is None else trials_until),
            cut(self.events, after, until if events_until is None else events_until),
            good=self.good,
            until_ms=until,
        )
        self.batches += more
        return self

    @property
    def counts(self) -> list[tuple[int, int, int, int]]:
        return [batch[1:] for batch in self.batches]


def watch(*pods: Fake, good: bool = False) -> Watch:
    return Watch(
        [pod.series(pod.trials) for pod in pods if pod.trials],
        [pod.series(pod.events, **pod.also) for pod in pods if pod.events],
        good=good,
    )


def at(scrape: float) -> int:
    return SINCE + round(scrape * SCRAPE)


def rising(step: int, *, first: int = -1, last: int = 40, start: int = 1000) -> dict[int, float]:
    return {number: start + step * (number + 1) for number in range(first, last)}


# ── What counts ─────────────────────────────────────────────────────────────────────────────────


def test_only_what_happened_after_the_start_counts() -> None:
    seen = watch(
        Fake("canary", trials=line(100, 110, 130), events=line(1, 2, 5)),
        Fake("stable", trials=line(5000, 5100, 5250), events=line(50, 51, 51)),
    ).poll(at(1))
    assert seen.batches == [Batch(SCRAPE, 20, 3, 150, 0)]


def test_the_first_error_of_a_series_that_did_not_exist_is_seen() -> None:
    pod = Fake("canary", trials=line(100, 110, 130, 140), events=line(None, None, None, 4), also={"status": "503"})
    assert watch(pod, Fake("stable", trials=rising(100))).poll(at(2)).counts == [(20, 0, 100, 0), (10, 4, 100, 0)]


def test_a_pod_that_is_born_after_the_start_counts_in_full() -> None:
    born = Fake("canary", "2", trials=line(7, 9, first=2), events=line(7, 7, first=2), phase=3000)
    seen = watch(Fake("canary", trials=rising(10)), Fake("stable", trials=rising(100)), born).poll(at(4))
    assert total(seen) == [30 + 9, 7, 300, 0]


def test_a_counter_that_falls_was_reset_and_counts_from_zero() -> None:
    pod = Fake("canary", trials=line(100, 110, 3, 5), events=line(9, 9, 2, 2))
    assert watch(pod, Fake("stable", trials=rising(100))).poll(at(2)).counts == [(3, 2, 100, 0), (2, 0, 100, 0)]


def test_both_sides_restart_at_once() -> None:
    pods = [Fake(version, trials=line(900, 950, 4, 8)) for version in ("canary", "stable")]
    assert watch(*pods).poll(at(2)).counts == [(4, 0, 4, 0), (4, 0, 4, 0)]


def test_a_reset_between_two_polls_costs_nothing_that_was_scraped() -> None:
    seen = watch(Fake("canary", trials=line(100, 110, 150, 2, 5)), Fake("stable", trials=rising(1)))
    seen.poll(at(1) - 1).poll(at(3))
    assert sum(batch.n_c for batch in seen.batches) == 40 + 2 + 3


def test_other_versions_and_series_without_the_label_are_nobodys() -> None:
    pods = (Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20)), Fake("old", trials=rising(1)))
    seen = watch(*pods)
    seen.trials = [*seen.trials, Series({"instance": "9"}, [(at(1), 99)])]
    assert seen.poll(at(2)).counts == [(10, 0, 20, 0)] * 2
    assert {pod.side for pod in seen.counters.pods.values()} == {"candidate", "stable"}


def test_the_label_and_its_values_are_the_gates() -> None:
    own = Versions(label="track", candidate="b", stable="a")
    series = [Series({"track": track}, [(at(0), 5), (at(1), 7)]) for track in "ab"]
    assert fold(begin(SINCE), own, series, [], good=False, until_ms=at(1))[1] == [Batch(SCRAPE, 2, 0, 2, 0)]


@pytest.mark.parametrize("odd", [nan, inf, -inf, -5.0])
def test_what_is_no_count_was_not_scraped(odd: float) -> None:
    pod = Fake("canary", trials=line(100, 110, odd, 130))
    assert sum(n for n, *_ in watch(pod, Fake("stable", trials=rising(1))).poll(at(2)).counts) == 20


def test_fractions_are_rounded_and_not_lost() -> None:
    pod = Fake("canary", trials={number: 0.4 * (number + 1) for number in range(-1, 21)})
    counts = [n for n, *_ in watch(pod, Fake("stable", trials=rising(1))).poll(at(20)).counts]
    assert sum(counts) == 8
    assert set(counts) == {0, 1}


def test_errors_counted_elsewhere_than_requests_count_too() -> None:
    edge = {"job": "edge", "instance": "edge-1"}
    trials = [Series({"version": side, **edge}, [(at(0), 0), (at(1), 50)]) for side in ("canary", "stable")]
    events = [Fake("canary", trials=line(3, 3, 8)).series(line(3, 3, 8))]
    assert fold(begin(SINCE), VERSIONS, trials, events, good=False, until_ms=at(1))[1] == [Batch(SCRAPE, 50, 5, 50, 0)]


def test_events_without_trials_wait_for_trials() -> None:
    pod = Fake("canary", trials=line(100, 100, 100, 110), events=line(0, 0, 4, 4))
    assert watch(pod, Fake("stable", trials=rising(1))).poll(at(2)).counts == [(0, 0, 1, 0), (10, 4, 1, 0)]


def test_a_side_without_trials_has_no_data() -> None:
    seen = watch(Fake("stable", trials=rising(100))).poll(at(3))
    assert seen.counts == [(0, 0, 100, 0)] * 3
    assert seen.counters.newest == {"candidate": 0, "stable": at(3)}


def test_where_nobody_scraped_before_the_start_a_late_look_is_not_a_birth() -> None:
    pods = [Fake("canary", trials=rising(10, first=8)), Fake("stable", trials=rising(99, first=8), phase=9000)]
    seen = watch(*pods).poll(at(16))
    assert total(seen) == [3 * 10, 0, 4 * 99, 0]
    assert seen.counters.since_ms == at(8) + 60_000


def test_too_many_series_are_refused_in_words() -> None:
    series = [Series({"version": "canary", "path": str(path)}, [(at(1), 1)]) for path in range(MOST_SERIES + 1)]
    with pytest.raises(Misconfigured, match="narrow the selector"):
        fold(begin(SINCE), VERSIONS, series, [], good=False, until_ms=at(1))
    assert fold(begin(SINCE), VERSIONS, series[1:], [], good=False, until_ms=at(1))[1] == []


def test_pods_long_gone_make_room_for_new_ones() -> None:
    steady = Fake("stable", trials=rising(1, last=1500))
    seen = watch(steady)
    for hours in range(3):
        born = Fake("canary", str(hours), trials=line(1, 2, first=480 * hours + 1))
        seen.trials = [*seen.trials, *[born.series(born.trials, path=str(path)) for path in range(900)]]
    assert len(seen.poll(at(1400)).counters.pods) == 2
    assert total(seen) == [3 * 900 * 2, 0, 1400, 0]


# ── Trials without the event ────────────────────────────────────────────────────────────────────


def test_slow_requests_are_those_that_no_bucket_holds() -> None:
    pod = Fake("canary", trials=line(100, 110, 130), events=line(90, 95, 108), also={"le": "0.5"})
    other = Fake("stable", trials=line(100, 110, 130), events=line(100, 110, 130), also={"le": "0.5"})
    assert watch(pod, other, good=True).poll(at(1)).counts == [(20, 7, 20, 0)]


def test_without_its_bucket_a_scrape_does_not_count_and_nothing_is_lost() -> None:
    pod = Fake("canary", trials=line(100, 110, 130, 140), events=line(90, 95, None, 118), also={"le": "0.5"})
    other = Fake("stable", trials=rising(10), events=rising(10), also={"le": "0.5"})
    seen = watch(pod, other, good=True)
    assert seen.poll(at(1)).counts == []
    assert seen.poll(at(2)).counts == [(30, 7, 20, 0)]


def test_a_bucket_that_does_not_exist_is_no_data_and_not_everything_slow() -> None:
    seen = watch(Fake("canary", trials=rising(10)), Fake("stable", trials=rising(10)), good=True).poll(at(9))
    assert (seen.batches, seen.counters.newest) == ([], {"candidate": 0, "stable": 0})


def test_a_server_that_respells_a_boundary_restarts_nothing() -> None:
    pod, other = (Fake(version, trials=rising(10)) for version in ("canary", "stable"))
    seen = watch(pod, other, good=True)
    for each in (pod, other):
        seen.events = [*seen.events, each.series(rising(9, last=2), le="1"), each.series(rising(9, first=2), le="1.0")]
    seen.events = [Series(each.labels, [(t, min(v, 990 + v - 1000)) for t, v in each.points]) for each in seen.events]
    assert {(n, x) for n, x, *_ in seen.poll(at(6)).counts} == {(10, 1)}


def test_two_numbers_that_were_read_a_moment_apart_do_not_add_up_to_slow_requests() -> None:
    trials = {number: 100.0 + 10 * number for number in range(-1, 21)}
    within = {number: value + (number % 2) * 2 - 5 for number, value in trials.items()}
    pods = [Fake(version, trials=trials, events=within, also={"le": "1"}) for version in ("canary", "stable")]
    events = [x for _, x, *_ in watch(*pods, good=True).poll(at(20)).counts]
    assert min(events) >= 0
    assert sum(events) <= 2


def test_a_histogram_that_contradicts_itself_is_only_a_new_baseline() -> None:
    pod = Fake("canary", trials=line(1000, 1010, 1020, 1030), events=line(990, 1000, 400, 409), also={"le": "1"})
    other = Fake("stable", trials=rising(10), events=rising(10), also={"le": "1"})
    assert watch(pod, other, good=True).poll(at(2)).counts == [(0, 0, 10, 0), (10, 1, 10, 0)]


def test_a_restart_of_the_trials_is_one_of_the_good_ones_too() -> None:
    pod = Fake("canary", trials=line(10, 15, 12), events=line(9, 10, 11), also={"le": "1"})
    other = Fake("stable", trials=rising(10), events=rising(10), also={"le": "1"})
    assert watch(pod, other, good=True).poll(at(1)).counts == [(12, 1, 10, 0)]


# ── Until when ──────────────────────────────────────────────────────────────────────────────────


def test_at_first_it_looks_back_and_then_on_from_the_watermark() -> None:
    seen = watch(Fake("canary", trials=rising(1)), Fake("stable", trials=rising(1), phase=7000))
    assert wanted_after(seen.counters) == SINCE - LOOK_BACK_MS
    seen.poll(at(3))
    assert wanted_after(seen.counters) == seen.counters.watermark_ms == at(2) + 7000


def test_the_slowest_live_pod_decides_how_far_is_counted() -> None:
    seen = watch(Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20, last=4))).poll(at(5))
    assert seen.counters.watermark_ms == at(3)
    assert seen.counters.newest == {"candidate": at(5), "stable": at(3)}


def test_a_scrape_between_the_two_queries_waits_for_the_other_half() -> None:
    pods = (Fake("canary", trials=rising(10), events=rising(5)), Fake("stable", trials=rising(20), events=rising(1)))
    seen = watch(*pods).poll(at(3), events_until=at(2)).poll(at(4), trials_until=at(3))
    assert seen.counts == [(10, 5, 20, 1)] * 3


def test_a_restart_that_takes_the_error_series_away_costs_one_scrape_of_waiting() -> None:
    pod = Fake("canary", trials=line(100, 110, 120, 3, 6), events=line(0, 5, 9))
    seen = watch(pod, Fake("stable", trials=rising(1)))
    assert seen.poll(at(2)).counters.watermark_ms == at(1)
    assert seen.poll(at(3)).counts == [(10, 4, 1, 0), (3, 0, 1, 0), (3, 0, 1, 0)]


def test_a_pod_that_dies_is_waited_for_three_scrapes_and_named() -> None:
    pods = (Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20)))
    seen = watch(*pods, Fake("stable", "2", trials=rising(5, last=3)))
    assert seen.poll(at(5)).counters.watermark_ms == at(2)
    assert not seen.counters.silent
    assert seen.poll(at(6)).counters.watermark_ms == at(6)
    assert seen.counters.silent == ("stable shop 2",)
    assert seen.batches == [
        *[Batch(SCRAPE, 10, 0, 25, 0)] * 2,
        Batch(4 * SCRAPE, 40, 0, 80, 0),
    ]


def test_a_pod_that_was_dead_before_the_start_is_not_worth_a_name() -> None:
    pods = (Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20, first=-9)))
    seen = watch(*pods, Fake("stable", "2", trials=rising(5, first=-9, last=-5))).poll(at(3))
    assert (seen.counters.watermark_ms, seen.counters.silent) == (at(3), ())
    assert seen.counts == [(10, 0, 20, 0)] * 3


def test_a_pod_that_returns_brings_what_it_has_counted_meanwhile() -> None:
    away = {number: value for number, value in rising(5).items() if not 3 <= number < 12}
    pods = (Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20)), Fake("canary", "2", trials=away))
    seen = watch(*pods).poll(at(11)).poll(at(14))
    assert seen.counters.silent == ()
    assert sum(batch.n_c for batch in seen.batches) == 14 * 15
    assert seen.batches[-3] == Batch(SCRAPE, 10 + 5 * 10, 0, 20, 0)


def test_a_late_sample_is_counted_with_the_next_one() -> None:
    pods = (Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20)))
    late = Fake("canary", "2", trials=rising(5))
    seen = watch(*pods, late)
    whole = seen.trials
    seen.trials = [*whole[:2], cut(whole[2:], 0, at(1))[0]]
    seen.poll(at(6))  # the second pod's samples of 2 to 6 are not there yet
    seen.trials = whole
    assert sum(batch.n_c for batch in seen.poll(at(8)).batches) == 8 * 15


def test_pods_scraped_at_different_moments_close_one_batch_a_round() -> None:
    pods = [Fake("canary" if n < 2 else "stable", str(n), rising(10), phase=n * 3000) for n in range(5)]
    seen = watch(*pods).poll(at(6) - 1)
    assert seen.counts[0] == (20, 0, 30, 0)
    assert [batch.span_ms for batch in seen.batches] == [SCRAPE] * 5


def test_a_clock_that_is_one_scrape_behind_costs_one_scrape() -> None:
    seen = watch(Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20)))
    canary, stable = seen.trials
    for now in range(1, 9):
        seen.trials = [canary, *cut([stable], 0, at(now - 1))]
        assert seen.poll(at(now)).counters.watermark_ms == at(now - 1)
    assert seen.counts == [(10, 0, 20, 0)] * 7
    assert not seen.counters.silent


def test_samples_from_the_future_are_left_for_later() -> None:
    seen = watch(Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20)))
    assert seen.poll(at(2), trials_until=at(9)).counts == [(10, 0, 20, 0)] * 2
    assert seen.poll(at(4)).counts == [(10, 0, 20, 0)] * 4


def test_jobs_with_different_intervals_meet_at_the_slower_ones_scrapes() -> None:
    seldom = {number: value for number, value in rising(20, first=-16).items() if number % 4 == 0}
    seen = watch(Fake("canary", trials=rising(10, first=-19)), Fake("stable", trials=seldom)).poll(at(16))
    assert seen.counters.scrape_ms == 4 * SCRAPE
    assert seen.counts == [(40, 0, 80, 0)] * 4


def test_a_slower_job_that_has_ended_no_longer_sets_the_pace() -> None:
    seldom = {number: value for number, value in rising(20, first=-16, last=5).items() if number % 4 == 0}
    pods = [Fake("canary", trials=rising(10, first=-19)), Fake("stable", trials=rising(10, first=-19))]
    seen = watch(*pods, Fake("stable", "2", trials=seldom))
    assert seen.poll(at(8)).counters.scrape_ms == 4 * SCRAPE
    assert seen.poll(at(30)).counters.scrape_ms == SCRAPE


def test_one_scrape_that_is_missed_does_not_double_the_interval() -> None:
    missed = {number: value for number, value in rising(10, first=-19).items() if number != 5}
    pods = [Fake(version, trials=missed) for version in ("canary", "stable")]
    seen = watch(*pods).poll(at(6))
    assert SCRAPE < seen.counters.scrape_ms <= SCRAPE * 9 / 8
    assert seen.poll(at(8)).counters.scrape_ms == SCRAPE


# ── Gaps ────────────────────────────────────────────────────────────────────────────────────────


def gap(first: int, after: int) -> Watch:
    def without(values: dict[int, float]) -> dict[int, float]:
        return {number: value for number, value in values.items() if not first <= number < after}

    pods = [
        Fake("canary", "1", without(rising(10, last=200))),
        Fake("stable", "2", without(rising(20, last=200)), phase=6000),
        Fake("stable", "3", without(rising(20, last=200)), phase=9000),
    ]
    return watch(*pods)


def test_a_gap_is_one_long_batch_of_both_sides_and_counts_as_one_scrape_of_observation() -> None:
    seen = gap(4, 14).poll(at(17) - 1)
    assert seen.batches[-4:-1] == [
        Batch(SCRAPE, 10, 0, 40, 0),
        Batch(9000, 0, 0, 40, 0),
        Batch(11 * SCRAPE, 110, 0, 440, 0),
    ]
    assert total(seen) == [160, 0, 640, 0]
    assert seen.counters.observed_ms == 3 * SCRAPE + 9000 + SCRAPE + 2 * SCRAPE


def test_a_pod_that_was_silent_before_a_gap_is_not_waited_for_after_it() -> None:
    seen = gap(10, 20)
    seen.trials = [*seen.trials, Fake("canary", "4", rising(5, last=3)).series(rising(5, last=3))]
    assert seen.poll(at(22)).batches[-1] == Batch(11 * SCRAPE, 110, 0, 440, 0)


def test_while_nothing_is_new_the_watermark_stays() -> None:
    seen = gap(4, 100)
    before = seen.poll(at(4)).counters
    assert seen.poll(at(12)).counters == before
    assert before.newest == {"candidate": at(3), "stable": at(3) + 9000}


def test_a_long_gap_is_stepped_over_and_what_comes_after_it_is_whole() -> None:
    seen = gap(4, 100)
    for now in range(5, 100):
        seen.poll(at(now))
    assert seen.counters.watermark_ms == at(99) - 3 * SCRAPE
    assert seen.poll(at(102)).counters == gap(4, 100).poll(at(102)).counters
    assert total(seen)[0] == 1010


def test_without_any_sample_ever_the_start_is_waited_for_first() -> None:
    seen = watch()
    assert wanted_after(seen.poll(at(1)).counters) == SINCE - LOOK_BACK_MS
    assert wanted_after(seen.poll(SINCE + LOOK_BACK_MS + 1).counters) > SINCE


def test_time_counts_as_observed_only_while_both_sides_are_seen() -> None:
    seen = watch(Fake("canary", trials=rising(10, last=6)), Fake("stable", trials=rising(20))).poll(at(30))
    assert seen.counters.observed_ms == 8 * SCRAPE
    assert watch(Fake("stable", trials=rising(20))).poll(at(9)).counters.observed_ms == 0


# ── Always ──────────────────────────────────────────────────────────────────────────────────────

END = 40  # scrapes; long after every pod's last one


@dataclass
class Life:
    """A simulated pod, and what it did since the start as far as any scrape could see it."""

    pod: Fake
    n: int = 0
    x: int = 0


@st.composite
def lives(draw: st.DrawFn, version: str, name: str, *, good: bool) -> Life:
    """A pod with a phase; perhaps born late, dead early, restarted, or not scraped for a while."""
    first, last = draw(st.sampled_from([-19, -19, -2, 2, 7])), draw(st.sampled_from([24, 24, 24, 11]))
    missed = draw(st.sets(st.integers(1, 22), max_size=6))
    phase = draw(st.sampled_from([0, 0, -1, -4000, -7500, 1 - SCRAPE]))
    steps = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), min_size=5, max_size=9))
    life = Life(Fake(version, name, phase=phase, also={"le": "1"} if good else {"status": "500"}))
    n, x = (0, 0) if first > 0 else (500, 40)
    for number in range(first, last):
        if number in missed:
            continue
        more, bad, restarts = steps[number % len(steps)]
        if restarts and number % 7 == 0:  # seen by a scrape only where the new process has counted less
            grown = (min(more, max(n - 1, 0)), min(bad, more, max(n - 1, 0), max(x - 1, 0)))
            n, x = grown
        else:
            grown = (more, min(more, bad))
            n, x = n + grown[0], x + grown[1]
        life.pod.trials[number] = n
        if good or x or life.pod.events:
            life.pod.events[number] = n - x if good else x
        if number * SCRAPE + phase > 0:
            life.n, life.x = life.n + grown[0], life.x + grown[1]
    return life


@st.composite
def fleets(draw: st.DrawFn) -> tuple[bool, list[Life]]:
    """Pods of both sides, one of them scraped from before the start to the end; and whether good ones are counted."""
    good = draw(st.booleans())
    also = {"le": "1"} if good else {"status": "500"}
    steady = Fake("stable", "steady", rising(3, first=-19, last=60), rising(1, first=-19, last=60), also=also)
    sides = [*["canary"] * draw(st.integers(0, 3)), *["stable"] * draw(st.integers(0, 3))]
    fleet = [draw(lives(side, str(number), good=good)) for number, side in enumerate(sides)]
    return good, [Life(steady, 3 * END, 2 * END if good else END), *fleet]


def watched(case: tuple[bool, list[Life]]) -> Watch:
    good, fleet = case
    return watch(*[life.pod for life in fleet], good=good)


def total(seen: Watch) -> list[int]:
    return [sum(column) for column in zip(seen.counters.rest, *seen.counts, strict=True)]


def true(fleet: Sequence[Life]) -> list[int]:
    canary = [life for life in fleet if life.pod.version == "canary"]
    stable = [life for life in fleet if life.pod.version == "stable"]
    return [sum(counted) for side in (canary, stable) for counted in ([p.n for p in side], [p.x for p in side])]


moments = st.lists(st.integers(1, END * SCRAPE), max_size=25).map(sorted)


@given(fleets(), moments)
@HEAVY
def test_however_polls_cut_the_samples_state_and_batches_are_the_same(
    case: tuple[bool, list[Life]], polls: list[int]
) -> None:
    once = watched(case).poll(at(END))
    often = watched(case)
    for moment in polls:
        often.poll(SINCE + moment)
    often.poll(at(END))
    assert often.batches == once.batches
    assert often.counters == once.counters


@given(fleets(), moments)
@HEAVY
def test_what_is_counted_is_what_the_pods_did_since_the_start(case: tuple[bool, list[Life]], polls: list[int]) -> None:
    seen = watched(case)
    for moment in polls:
        seen.poll(SINCE + moment)
    assert total(seen.poll(at(END))) == true(case[1])


@given(fleets(), moments, st.lists(st.integers(0, SCRAPE), min_size=2, max_size=5))
@LIGHT
def test_answers_that_straddle_scrapes_lose_nothing_and_count_nothing_twice(
    case: tuple[bool, list[Life]], polls: list[int], lags: list[int]
) -> None:
    seen = watched(case)
    for number, moment in enumerate(polls):
        lag = lags[number % len(lags)]
        one, other = (moment, moment - lag) if number % 3 else (moment - lag, moment)
        seen.poll(SINCE + moment, SINCE + one, SINCE + other)
    assert total(seen.poll(at(END))) == true(case[1])
    assert all(0 <= x_c <= n_c and 0 <= x_b <= n_b for n_c, x_c, n_b, x_b in seen.counts)


@given(fleets(), moments)
@LIGHT
def test_never_less_than_nothing_never_more_events_than_trials_and_time_only_passes(
    case: tuple[bool, list[Life]], polls: list[int]
) -> None:
    seen = watched(case)
    for moment in polls:
        before = seen.counters
        seen.poll(SINCE + moment)
        assert before.watermark_ms <= seen.counters.watermark_ms <= SINCE + moment
        observed = seen.counters.observed_ms - before.observed_ms
        assert 0 <= observed <= seen.counters.watermark_ms - max(SINCE, before.watermark_ms) or not observed
    assert all(0 <= x_c <= n_c and 0 <= x_b <= n_b for n_c, x_c, n_b, x_b in seen.counts)
    assert all(batch.span_ms > 0 for batch in seen.batches)
    assert sum(batch.span_ms for batch in seen.batches) == max(0, seen.counters.closed_ms - SINCE)


def test_a_fold_leaves_the_state_before_as_it_was() -> None:
    seen = watch(Fake("canary", trials=rising(10)), Fake("stable", trials=rising(20))).poll(at(2))
    before, written = seen.counters, WRITTEN.dump_json(seen.counters)
    once = fold(before, VERSIONS, seen.trials, seen.events, good=False, until_ms=at(5))
    assert WRITTEN.dump_json(before) == written
    assert fold(before, VERSIONS, seen.trials, seen.events, good=False, until_ms=at(5)) == once


def test_a_poll_of_forty_pods_is_folded_in_two_milliseconds() -> None:
    pods = [
        Fake(version, f"{number}", rising(10), rising(1), phase=number * 300)
        for version in ("canary", "stable")
        for number in range(20)
    ]
    trials = [pod.series(pod.trials, status=status) for pod in pods for status in ("200", "404", "500")]
    events = [pod.series(pod.events, status=status) for pod in pods for status in ("500", "502", "503")]
    counters, _ = fold(begin(SINCE), VERSIONS, cut(trials, 0, at(3)), cut(events, 0, at(3)), good=False, until_ms=at(3))
    fastest = inf
    for _ in range(20):
        more = cut(trials, wanted_after(counters), at(4)), cut(events, wanted_after(counters), at(4))
        started = time.perf_counter()
        fold(counters, VERSIONS, *more, good=False, until_ms=at(4))
        fastest = min(fastest, time.perf_counter() - started)
    assert fastest < 0.01  # 1 ms on the author's machine; a shared one may be slower
    assert len(WRITTEN.dump_json(counters)) < 20_000


def test_a_pod_that_is_found_late_is_not_taken_for_one_that_was_just_born() -> None:
    """It has counted for weeks; a pod that is born during the rollout begins small and counts in full."""
    versions = Versions()

    def pod(name: str, points: list[tuple[int, float]]) -> Series:
        return Series({"version": "stable", "job": "shop", "instance": name}, points)

    known = pod("known", [(at * 15_000, 100.0 * at) for at in range(11)])
    candidate = Series({"version": "canary", "job": "shop", "instance": "c"}, known.points)
    found = pod("found", [(at * 15_000, 40_000_000 + 100.0 * at) for at in range(6, 11)])
    born = pod("born", [(at * 15_000, 100.0 * (at - 5)) for at in range(6, 11)])
    _, batches = fold(begin(15_000), versions, [known, candidate, found, born], [], good=False, until_ms=150_000)
    assert sum(batch.n_b for batch in batches) == 900 + 400 + 500


def test_a_sum_that_falls_because_a_pod_left_is_not_counted_anew() -> None:
    """A recording rule without pods: what looks like a reset begins with more than was ever counted."""
    series = Series({"version": "stable"}, [(0, 1e6), (15_000, 1e6 + 100), (30_000, 9e5), (45_000, 9e5 + 100)])
    _, batches = fold(begin(0), Versions(), [series], [], good=False, until_ms=45_000)
    assert sum(batch.n_b for batch in batches) == 200
