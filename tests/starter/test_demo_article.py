"""The demo's arithmetic about the article's rule: by hand, against a simulation, and out of a load report."""

from datetime import timedelta

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rollout.gates import ThresholdGate
from starter.demo.article import ARTICLE, Failing, failing, fires_after
from starter.demo.scenarios import read_script
from testbed.parts import COMPOSE
from testbed.report import LoadReport


def test_it_is_the_rule_that_prometheus_has_and_the_example_word_for_word() -> None:
    (group,) = yaml.safe_load((COMPOSE / "rules.yml").read_text(encoding="utf-8"))["groups"]
    (rule,) = group["rules"]
    gate = read_script().spec.gates["hard-5xx"]
    assert isinstance(gate, ThresholdGate)
    assert f"{gate.query} > {gate.above:g}".split() == rule["expr"].split()
    assert rule["for"] == "2m"
    assert gate.for_ == timedelta(seconds=ARTICLE.for_s)
    assert gate.above == ARTICLE.limit
    assert rule["expr"].count(f"[{ARTICLE.window_s / 60:g}m]") == 2


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [
        # 10 % of a candidate that served as much all the time: half of the window must be bad, 150 s, then 120 s.
        (Failing(before=12_000, before_s=400, rate=30, share=0.10), 270.0),
        (Failing(before=9_000, before_s=300, rate=30, share=0.10), 270.0),
        # Nobody gets a good answer any more: 5 % of the window, 15 s, then 120 s.
        (Failing(before=9_000, before_s=300, rate=30, share=1.0), 135.0),
        # The demo: 150 good requests at 5 %, then 37.5 a second at 25 %. 0.1·37.5·t > 0.05·(37.5·t + 150) from 4 s on.
        (Failing(before=150, before_s=20, rate=37.5, share=0.10), 124.0),
        # 0.075·10·t > 0.05·(10·t + 1000) from 200 s on, but the 110 s before do not fit beside them into the window:
        # 0.25·t > 0.05·(1000/110)·(300 - t) from 3000/15.5 s on.
        (Failing(before=1000, before_s=110, rate=10, share=0.075), 120 + 3000 / 15.5),
        # Bad from its first request on.
        (Failing(before=0, before_s=1, rate=10, share=0.06), 120.0),
        # The rule says above 5 %.
        (Failing(before=150, before_s=20, rate=37.5, share=0.05), None),
        (Failing(before=150, before_s=20, rate=0, share=0.10), None),
    ],
)
def test_it_fires_when_arithmetic_by_hand_says(shown: Failing, seconds: float | None) -> None:
    assert fires_after(ARTICLE, shown) == (seconds if seconds is None else pytest.approx(seconds))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    before=st.floats(0, 20_000),
    before_s=st.floats(1, 600),
    rate=st.floats(1, 100),
    share=st.floats(0.06, 1),
)
def test_it_fires_when_a_simulation_of_the_rule_does(before: float, before_s: float, rate: float, share: float) -> None:
    shown = Failing(before, before_s, rate, share)
    seconds = fires_after(ARTICLE, shown)
    assume(seconds is not None)
    assert seconds == pytest.approx(simulated(shown), abs=1)


def simulated(shown: Failing) -> float:
    """An evaluation a second of both rates over the last five minutes, and of `for`."""
    pending_s: float | None = None
    for now_s in range(1, 1000):
        begins_s = now_s - 300
        errors = shown.share * shown.rate * min(300, now_s)
        still_there_s = max(0.0, -max(begins_s, -shown.before_s))
        requests = shown.rate * min(300, now_s) + shown.before / shown.before_s * still_there_s
        if errors / requests <= 0.05:
            pending_s = None
        elif pending_s is None:
            pending_s = now_s
        if pending_s is not None and now_s - pending_s >= 120:
            return now_s
    raise AssertionError("the simulated rule never fires")


def second(canary: int, bad: int = 0) -> dict[str, int]:
    return {"stable": 110, "canary": canary, "bad": bad, "dropped": 0}


# 200 requests of the candidate until 20.5 s, of which the second of the first bad one holds 20; then 40 a second.
SEEN = LoadReport(
    started_at=0.5,
    written_at=30.0,
    requests=4000,
    versions={"stable": 3000, "canary": 340},
    first_bad_at=20.5,
    last_seconds=[
        (19, second(8)),
        (20, second(20, bad=2)),
        (21, second(40, bad=4)),
        (22, second(40, bad=5)),
        (23, second(40, bad=3)),
        (24, second(10, bad=1)),
        (25, second(0)),
    ],
)


def test_rate_and_share_come_from_the_whole_seconds_between_the_first_bad_response_and_the_breach() -> None:
    assert failing(SEEN, "canary", until=24.2) == Failing(before=200.0, before_s=20.0, rate=40.0, share=0.10)


@pytest.mark.parametrize(
    ("report", "until"),
    [
        (SEEN, 21.9),
        (SEEN.model_copy(update={"first_bad_at": None}), 24.2),
        (SEEN.model_copy(update={"last_seconds": SEEN.last_seconds[2:]}), 24.2),
        (SEEN.model_copy(update={"last_seconds": []}), 24.2),
        (SEEN.model_copy(update={"last_seconds": [(20, second(20)), (21, second(0)), (22, second(0))]}), 24.2),
    ],
    ids=["too soon", "nothing bad", "forgotten", "nothing seen", "no candidate"],
)
def test_nothing_is_made_of_a_report_that_does_not_show_it(report: LoadReport, until: float) -> None:
    assert failing(report, "canary", until) is None
