"""What preflight finds out about a gate that counts, before anything moves."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from activities.learning import Learnt, learn
from activities.query_answer import Native
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.gates import CountingGate
from rollout.judge.counters import MOST_SERIES
from rollout.judge.threshold import Vector
from tests.fakes.connections import FakeConnections
from tests.fakes.metrics import FakeMetrics
from tests.rollout.given import NOW_MS, ladder, spec

HOUR_MS = 3_600_000
ERRORS = {"kind": "error-ratio", "requests": "r", "errors": 'r{status=~"5.."}', "dispersion": 1}
LATENCY = {"kind": "latency", "histogram": "h", "slower_than": 0.3, "dispersion": 1}
STAGES = ladder({"percent": 5, "bake": "10m"}, {"percent": 100})


def grow(a_minute: float, *, until_ms: int = NOW_MS, since_ms: int = 0) -> Callable[[int], float | None]:
    began_ms = NOW_MS - 7 * HOUR_MS
    return lambda at_ms: (
        float((at_ms - began_ms) * a_minute // 60_000) if max(began_ms, since_ms) <= at_ms <= until_ms else None
    )


def shop(**pod: str) -> FakeMetrics:
    """Two pods of stable, 600 requests a minute each, 6 of them errors."""
    server = FakeMetrics()
    for instance in ("a", "b"):
        labels: dict[str, Any] = {"version": "stable", "job": "shop", "instance": instance, **pod}
        server.count("r", grow(600), scrape_ms=15_000, **labels, status="200")
        server.count("r", grow(6), scrape_ms=15_000, **labels, status="500")
    return server


async def learnt(server: FakeMetrics, gate: dict[str, Any] = ERRORS, **changes: Any) -> Learnt:
    whole = spec(gates={"errors": {**gate, **changes}}, strategy=STAGES, approvals=None)
    asked = whole.gates["errors"]
    assert isinstance(asked, CountingGate)
    return await learn(FakeConnections(sources={"prometheus": server}), whole, "errors", asked, NOW_MS)


async def test_a_shop_that_is_as_it_should_be_is_told_without_a_remark() -> None:
    found = await learnt(shop())
    assert (found.problem, found.notes) == (None, ())
    assert found.judged.sees[0].per_second == pytest.approx(20.2, rel=0.01)


# ── Names and labels ────────────────────────────────────────────────────────────────────────────


async def test_errors_whose_series_do_not_carry_the_versions_label_are_refused() -> None:
    server = shop()
    server.count("e", grow(6), instance="edge", version="v7")
    found = await learnt(server, errors="e")
    assert found.problem == 'no series of e has version="stable" or version="canary"; its values are v7'
    gone = shop()
    gone.count("e", grow(6, until_ms=NOW_MS - HOUR_MS), instance="edge", scrape_ms=15_000)
    found = await learnt(gone, errors="e")
    assert found.problem == 'no series of e has version="stable" or version="canary"; its values are none'
    gone.count("e", grow(6, until_ms=NOW_MS - HOUR_MS), instance="edge", scrape_ms=15_000, version="canary")
    assert (await learnt(gone, errors="e")).problem is None, "the last rollout's are enough"


async def test_errors_that_were_never_selected_are_asked_about() -> None:
    found = await learnt(shop(), errors='r{status=~"6.."}')
    assert found.problem is None
    assert found.notes == ('no errors were ever selected by r{status=~"6.."} in the last 6h; is it right?',)


async def test_errors_of_five_hours_ago_are_enough() -> None:
    server = shop()
    server.count("r", grow(6, until_ms=NOW_MS - 5 * HOUR_MS), version="stable", status="418", scrape_ms=15_000)
    assert (await learnt(server, errors='r{status="418"}')).notes == ()


@pytest.mark.parametrize("matcher", ['code=~"5.."', 'code!~"2.."', 'status=~"5..",code!="200"'])
async def test_a_misspelt_label_of_the_errors_is_named(matcher: str) -> None:
    found = await learnt(shop(), errors=f"r{{{matcher}}}")
    assert found.problem is not None
    assert found.problem.startswith(f"no series of r has the label code, which r{{{matcher}}} asks for; ")


@pytest.mark.parametrize("matcher", ['status=~"5..",le=""', 'status=~"5..",job="shop"', 'status="500",le!~".+"'])
async def test_a_label_that_shall_be_absent_or_is_there_is_no_slip(matcher: str) -> None:
    assert (await learnt(shop(), errors=f"r{{{matcher}}}")).problem is None


async def test_a_service_without_errors_need_not_have_a_metric_of_them() -> None:
    server = shop()
    server.unknown = ("e",)
    found = await learnt(server, errors='e{status="500"}')
    assert found.problem is None
    assert found.notes == ('no errors were ever selected by e{status="500"} in the last 6h; is it right?',)
    server.unknown = ("e", "r")
    refused = (await learnt(server, errors='e{status="500"}')).problem
    assert refused == "no series is named e, r; a misspelt metric would never see anything"


async def test_trials_without_stable_are_refused_with_the_values_there_are() -> None:
    server = shop()
    server.count("r", grow(1), version="v7", instance="c")
    found = await learnt(server, versions={"stable": "live"})
    assert found.problem == 'no series of r has version="live"; its values are stable, v7'


async def test_what_is_too_much_to_ask_does_not_keep_a_rollout_from_starting() -> None:
    class Slow(FakeMetrics):
        async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
            if "last_over_time" in query:
                raise Misconfigured("query processing would load too many samples into memory")
            return await super().evaluate(query, start_ms, end_ms, step_ms)

    server = Slow(counters=shop().counters)
    assert (await learnt(server)).problem is None
    server.count("e", grow(6), instance="edge")
    assert "no series of e has version=" in ((await learnt(server, errors="e")).problem or ""), "those of now are known"


# ── Histograms ──────────────────────────────────────────────────────────────────────────────────


def timed() -> FakeMetrics:
    server = FakeMetrics(unknown=("h",))
    labels: dict[str, Any] = {"version": "stable", "instance": "a"}
    server.count("h_count", grow(600), scrape_ms=15_000, **labels)
    for bound in ("0.1", "0.3", "+Inf"):
        server.count("h_bucket", grow(500), scrape_ms=15_000, **labels, le=bound)
    return server


async def test_a_limit_between_two_boundaries_is_refused_with_the_boundaries() -> None:
    found = await learnt(timed(), LATENCY)
    assert (found.problem, found.notes, found.judged.native) == (None, (), False)
    found = await learnt(timed(), LATENCY, slower_than=0.2)
    assert found.problem == "slower_than: 0.2s is no boundary of h; its boundaries are 0.1, 0.3, +Inf seconds"


async def test_a_native_histogram_has_neither_counts_nor_buckets() -> None:
    server = FakeMetrics(unknown=("h_count", "h_bucket"))
    server.count("h", lambda at: Native(at / 1000, ()), version="stable", instance="a")
    found = await learnt(server, LATENCY)
    assert (found.problem, found.judged.native) == (None, True)
    assert (await learnt(server, LATENCY, versions={"stable": "live"})).problem == (
        'no series of h has version="live"; its values are stable'
    )
    server.unknown = ("h", "h_count", "h_bucket")
    refused = (await learnt(server, LATENCY)).problem
    assert refused == "no series is named h; a misspelt metric would never see anything"


# ── How many, and whose ─────────────────────────────────────────────────────────────────────────


def crowd(many: int) -> FakeMetrics:
    server = shop()
    for number in range(many):
        server.count("r", [(NOW_MS, 1)], version="canary", instance="a", status="404", path=str(number))
    return server


async def test_more_series_than_can_be_counted_are_refused_before_the_start() -> None:
    found = await learnt(crowd(MOST_SERIES - 5))
    assert found.problem == (
        "2001 series to count (1999 of the trials and 2 of the errors), more than 2000: narrow the selector, or drop "
        "labels such as the path by a recording rule with `sum without (path)`"
    )
    near = await learnt(crowd(MOST_SERIES - 6))
    assert (near.problem, len(near.notes)) == (None, 1)
    assert near.notes[0].startswith("2000 series to count (1998 of the trials and 2 of the errors), of at most 2000; ")
    assert (await learnt(crowd(1494))).notes == ()


async def test_series_of_other_versions_and_the_second_half_of_a_pair_do_not_count() -> None:
    server = shop()
    for number in range(MOST_SERIES):
        server.count("r", [(NOW_MS, 1)], version="old", instance="a", status="500", path=str(number))
    found = await learnt(server)
    assert (found.problem, found.notes) == (None, ())
    paired = timed()
    for number in range(1100):
        paired.count("h_count", [(NOW_MS, 1)], version="canary", instance="a", path=str(number))
        paired.count("h_bucket", [(NOW_MS, 1)], version="canary", instance="a", path=str(number), le="0.3")
    found = await learnt(paired, LATENCY)
    assert (found.problem, found.notes) == (None, ())


@pytest.mark.parametrize(
    "label", ["replica", "prometheus", "prometheus_replica", "receive", "receive_replica", "monitor"]
)
async def test_a_pod_that_two_replicas_scrape_is_refused(label: str) -> None:
    server = shop(**{label: "one"})
    assert (await learnt(server)).problem is None
    server.counters += shop(**{label: "two"}).counters
    assert (await learnt(server)).problem == (
        f"the same pod is there more than once (label {label}): ask one replica or deduplicate, otherwise evidence "
        "counts twice"
    )


async def test_pods_that_are_scraped_by_one_replica_each_are_fine() -> None:
    server = FakeMetrics()
    for instance, replica, version in (("a", "one", "stable"), ("b", "two", "stable"), ("a", "two", "canary")):
        server.count("r", grow(600), version=version, instance=instance, replica=replica, status="500")
    assert (await learnt(server)).problem is None


async def test_all_problems_of_a_gate_are_told_at_once() -> None:
    server = shop(replica="one")
    server.counters += shop(replica="two").counters
    refused = (await learnt(server, errors='r{code="500"}')).problem or ""
    assert "the label code" in refused
    assert "(label replica)" in refused


async def test_sums_that_name_no_pod_are_remarked_upon() -> None:
    server = FakeMetrics()
    server.count("r", grow(600), version="stable", status="500")
    found = await learnt(server)
    assert found.problem is None
    assert found.notes == ("its series name no pod: a restart cannot be told from a fall; keep the label instance",)


# ── Time ────────────────────────────────────────────────────────────────────────────────────────


class Rounds(FakeMetrics):
    """Answers only when everybody who has something to ask is waiting, and counts how often that is."""

    rounds = 0
    _open: asyncio.Event | None = None

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        await self._turn()
        return await super().evaluate(query, start_ms, end_ms, step_ms)

    async def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        await self._turn()
        return await super().missing(names)

    async def _turn(self) -> None:
        if self._open is None:
            self._open = asyncio.Event()
            self.rounds += 1
            asyncio.get_running_loop().call_later(0.02, self._answer_all, self._open)
        await self._open.wait()

    def _answer_all(self, opened: asyncio.Event) -> None:
        self._open = None
        opened.set()


@pytest.mark.parametrize(
    ("server", "gate"),
    [
        (shop(), ERRORS),
        (timed(), LATENCY),
        (timed(), {**LATENCY, "slower_than": 0.2}),
        (shop(), {**ERRORS, "versions": {"stable": "live"}}),
    ],
)
async def test_a_start_waits_for_two_answers_at_most(server: FakeMetrics, gate: dict[str, Any]) -> None:
    slow = Rounds(counters=server.counters, unknown=server.unknown)
    await learnt(slow, gate)
    assert slow.rounds == 2


async def test_a_server_that_does_not_answer_is_not_a_problem_of_the_gate() -> None:
    with pytest.raises(MetricsUnavailable):
        await learnt(FakeMetrics(reachable=False))
