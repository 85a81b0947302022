"""A recording out of raw samples is the recording of a file."""

from collections.abc import Iterable

from rollout.gates import Versions
from rollout.judge import counters
from rollout.judge.counters import Series
from rollout.judge.evidence import Batch, Tally
from rollout.judge.recording import Timed, lines, observed_percent, timed
from rollout.judge.samples import Line
from tests.rollout.given import NOW_MS
from tests.rollout.judge.recordings import ERRORS, RULE, judged

STEP_MS = 15_000
SCRAPES = 40
SHARES = {"canary": (20, 4), "stable": (380, 2)}


def raw(after_ms: int, until_ms: int, column: int) -> list[Series]:
    """Counters of one pod a version that grow by the same every scrape, beginning two scrapes early."""
    return [
        Series(
            {"version": version, "pod": f"{version}-1"},
            [
                (at_ms, float((number + 2) * grown[column]))
                for number in range(-2, SCRAPES + 1)
                if after_ms < (at_ms := NOW_MS + number * STEP_MS) <= until_ms
            ],
        )
        for version, grown in SHARES.items()
    ]


def folded(polls: Iterable[int]) -> list[Timed]:
    state, found = counters.begin(NOW_MS), []
    for until_ms in polls:
        after_ms = counters.wanted_after(state)
        seen = [raw(after_ms, until_ms, column) for column in (0, 1)]
        state, batches = counters.fold(state, Versions(), *seen, good=False, until_ms=until_ms)
        found += timed(state, batches)
    return found


def test_batches_have_the_times_of_their_scrapes_however_the_samples_were_cut() -> None:
    end_ms = NOW_MS + SCRAPES * STEP_MS
    at_once = folded([end_ms])
    assert at_once == folded(range(NOW_MS + 1, end_ms + 20_000, 7_000))
    assert at_once[:2] == [
        Timed(NOW_MS + STEP_MS, Batch(STEP_MS, 20, 4, 380, 2)),
        Timed(NOW_MS + 2 * STEP_MS, Batch(STEP_MS, 20, 4, 380, 2)),
    ]
    assert len(at_once) >= SCRAPES - 2


def test_a_server_s_past_is_replayed_like_a_file() -> None:
    test = judged(errors=ERRORS, hard_5xx=RULE)
    counts = {"errors": folded([NOW_MS + SCRAPES * STEP_MS])}
    values = {"hard-5xx": {NOW_MS + at * STEP_MS: {'{pod="a"}': 0.01} for at in range(SCRAPES)}}
    assert observed_percent(counts) == 5
    for line in lines(NOW_MS, 5, counts, values):
        test.see(line)
    (found,) = test.outcomes()
    assert (found.verdict, found.gate, found.percent) == ("breached", "errors", 5)
    assert found.at <= 60
    assert found.gates["hard-5xx"].verdict == "healthy"


def test_lines_are_in_the_order_of_time_and_begin_with_the_run() -> None:
    early, late = Timed(NOW_MS - 1, Batch(1, 1, 0, 1, 0)), Timed(NOW_MS + 2000, Batch(1, 2, 1, 3, 0))
    found = lines(NOW_MS, 5, {"errors": [early, late]}, {"hard-5xx": {NOW_MS + 1000: None, NOW_MS: {}}})
    assert found == [
        Line(None, 0.0, 5, {}, {"hard-5xx": {}}),
        Line(None, 1.0, 5, {}, {"hard-5xx": None}),
        Line(None, 2.0, 5, {"errors": Tally(2, 1, 3, 0)}, {}),
    ]


def test_nothing_counted_is_no_percent() -> None:
    assert observed_percent({"errors": []}) == 0
