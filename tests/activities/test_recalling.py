"""A metrics server's past, as the lines of a recording."""

from typing import Any

import pytest

from activities.query_answer import Native
from activities.recalling import PIECE_MS, Span, recalled
from rollout.errors import MetricsUnavailable
from rollout.judge.backtest import Backtest
from rollout.judge.samples import Line, read, written
from rollout.spec import RolloutSpec
from tests.fakes.connections import FakeConnections
from tests.fakes.metrics import FakeMetrics
from tests.rollout.given import NOW_MS, spec
from tests.rollout.judge.recordings import ERRORS, RULE, STAGES

STEP_MS = 5000
HOUR_MS = 3_600_000
SPAN = Span(NOW_MS, NOW_MS + HOUR_MS)
LATENCY = {"kind": "latency", "histogram": "h", "slower_than": 0.3}
CEILING = {"kind": "ceiling", "query": "memory", "above": 0.9}


def asking(**gates: dict[str, Any]) -> RolloutSpec:
    return spec(gates={name.replace("_", "-"): gate for name, gate in gates.items()}, approvals=None, strategy=STAGES)


def counting(bad: int = 1) -> FakeMetrics:
    """A server that scrapes 25 requests of the candidate and 475 of stable every 5 s; `bad` % and 1 % fail."""
    server = FakeMetrics()
    for version, requests, errors in (("canary", 500, 5 * bad), ("stable", 9500, 95)):
        server.count("r", grow(requests), scrape_ms=STEP_MS, version=version, pod=version)
        server.count("e", grow(errors), scrape_ms=STEP_MS, version=version, pod=version)
    return server


def grow(by: int) -> Any:
    """So many more every 20 scrapes."""
    return lambda at_ms: float(by * (at_ms - NOW_MS + 2 * HOUR_MS) // (20 * STEP_MS))


async def lines(
    server: FakeMetrics, wanted: RolloutSpec, span: Span = SPAN, percent: float | None = None
) -> list[Line]:
    return await recalled(FakeConnections(sources={"prometheus": server}), wanted, span, percent)


async def test_counts_are_increments_scrape_by_scrape_from_the_start_of_the_span() -> None:
    found = await lines(counting(), asking(errors=ERRORS))
    assert len(found) == HOUR_MS // STEP_MS
    assert (found[0].at, found[-1].at) == (5, 3600)
    assert {line.percent for line in found} == {5}
    assert [sum(column) for column in zip(*(line.counts["errors"] for line in found), strict=True)] == [
        18_000,
        180,
        342_000,
        3420,
    ]


async def test_a_long_time_is_asked_for_in_pieces() -> None:
    server = counting()
    await lines(server, asking(errors=ERRORS))
    asked = [until_ms - after_ms for after_ms, until_ms in server.asked]
    assert len(asked) > 12
    assert max(asked) <= PIECE_MS + 30_000


async def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await lines(counting(), asking(errors=ERRORS))
    monkeypatch.setattr("activities.recalling.PIECE_MS", 47_000)
    assert await lines(counting(), asking(errors=ERRORS)) == whole


async def test_a_percent_that_is_told_is_believed() -> None:
    found = await lines(counting(), asking(errors=ERRORS), percent=25)
    assert {line.percent for line in found} == {25}


async def test_rules_are_asked_at_every_poll_of_the_spec() -> None:
    server = FakeMetrics()
    server._said = [(0, {"": 0.01}), (NOW_MS + 60_000, {}), (NOW_MS + 120_000, {'{pod="a"}': 0.2})]
    found = await lines(server, asking(hard_5xx=RULE), Span(NOW_MS, NOW_MS + 300_000))
    assert [line.at for line in found] == [at * 5.0 for at in range(61)]
    assert [found[at].values["hard-5xx"] for at in (0, 12, 24)] == [{"": 0.01}, {}, {'{pod="a"}': 0.2}]


async def test_what_a_ceiling_says_of_stable_is_left_out() -> None:
    server = FakeMetrics()
    server.say({'{version="canary"}': 0.5, '{version="stable"}': 0.99})
    server._said[0] = (0, server._said[-1][1])
    (line, *_) = await lines(server, asking(memory=CEILING))
    assert line.values["memory"] == {'{version="canary"}': 0.5}


async def test_what_is_saved_is_replayed_alike() -> None:
    wanted = asking(errors=ERRORS, hard_5xx=RULE)
    found = await lines(counting(bad=20), wanted)
    asked, kept = Backtest(wanted), Backtest(wanted)
    for line in found:
        asked.see(line)
        kept.see(read(written(line, kept.gates), kept.gates))
    (outcome,) = asked.outcomes()
    assert (outcome.verdict, outcome.gate) == ("breached", "errors")
    assert kept.outcomes() == [outcome]


async def test_a_native_histogram_is_read_where_there_is_no_other() -> None:
    server = FakeMetrics(unknown=("h_count", "h_bucket"))
    for version in ("canary", "stable"):
        server.count("h", native, scrape_ms=STEP_MS, version=version, pod=version)
    found = await lines(server, asking(latency=LATENCY), Span(NOW_MS, NOW_MS + 60_000))
    assert sum(line.counts["latency"].n_c for line in found) > 0
    gone = FakeMetrics(unknown=("h_count", "h_bucket", "h"))
    assert await lines(gone, asking(latency=LATENCY)) == []


def native(at_ms: int) -> Native:
    return Native(total=float((at_ms - NOW_MS + 2 * HOUR_MS) // STEP_MS * 10), buckets=())


async def test_a_server_that_does_not_answer_ends_it() -> None:
    with pytest.raises(MetricsUnavailable):
        await lines(FakeMetrics(reachable=False), asking(errors=ERRORS))
