"""Answers of the query API that a real server does not give on demand: native histograms above all.

The recordings follow the documented format of Prometheus 3 (HTTP API, "Native histograms").
"""

import json
import re
from typing import Any

import pytest

from activities.query_answer import Native, decoded, divided, natives, sampled, within
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.counters import Series

T0 = 1_795_340_310_123
STEP = 15_000

NATIVE = """
{"status": "success", "data": {"resultType": "matrix", "result": [
  {"metric": {"__name__": "http_request_duration_seconds", "version": "canary", "instance": "10.0.0.7:8000"},
   "histograms": [
     [1795340310.123, {"count": "40", "sum": "9.5", "buckets": [
        [3, "-0.001", "0.001", "2"],
        [0, "0.125", "0.25", "30"],
        [0, "0.25", "0.5", "6"],
        [0, "0.5", "1", "2"]]}],
     [1795340325.123, {"count": "41", "sum": "NaN", "buckets": [
        [3, "-0.001", "0.001", "2"],
        [0, "0.125", "0.25", "30"],
        [0, "0.25", "0.5", "6"],
        [0, "0.5", "1", "2"]]}],
     [1795340340.123, {"count": "0", "sum": "0"}]
   ]}
]}}
"""


def answer(body: str | bytes) -> Any:
    return decoded(200, "application/json", body if isinstance(body, bytes) else body.encode())


def matrix(*series: dict[str, Any], kind: str = "matrix", **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": series}, **more}).encode()


def counter(*points: tuple[float, str], **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": "x_total", **labels}, "values": points}


# ── Raw samples ─────────────────────────────────────────────────────────────────────────────────


def test_samples_keep_labels_milliseconds_and_values() -> None:
    body = matrix(counter((T0 / 1000, "7"), ((T0 + STEP) / 1000, "1e+06"), version="canary"))
    assert sampled(answer(body), T0 - 1, T0 + STEP) == (Series({"version": "canary"}, [(T0, 7), (T0 + STEP, 1e6)]),)


def test_the_left_edge_that_prometheus_2_gives_is_dropped() -> None:
    body = matrix(counter((T0 / 1000, "7"), ((T0 + STEP) / 1000, "9")), counter((T0 / 1000, "7"), old="yes"))
    assert sampled(answer(body), T0, T0 + STEP) == (Series({}, [(T0 + STEP, 9)]),)


def test_samples_later_than_asked_for_are_no_answer() -> None:
    with pytest.raises(MetricsUnavailable, match="later time"):
        sampled(answer(matrix(counter((T0 / 1000, "7")))), T0 - STEP, T0 - 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (matrix(kind="vector"), "a plain selector is wanted"),
        (matrix({"metric": {}, "histograms": [[T0 / 1000, {"count": "1", "sum": "1"}]]}), "which are no counters"),
        (matrix({"metric": {}, "values": [], "histograms": []}), "which are no counters"),
    ],
)
def test_what_is_no_counter_is_misconfigured(body: bytes, words: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(words)):
        sampled(answer(body), T0 - 1, T0)


def test_warnings_make_samples_no_answer() -> None:
    with pytest.raises(MetricsUnavailable, match="partial: store 10 is away"):
        answer(matrix(counter((T0 / 1000, "7")), warnings=["store 10 is away"]))


# ── Native histograms ───────────────────────────────────────────────────────────────────────────


def test_a_native_histogram_is_two_counters() -> None:
    found = natives(answer(NATIVE), T0 - 1, T0 + 2 * STEP)
    counts, goods = divided(found, 0.5, "within")
    labels = {"version": "canary", "instance": "10.0.0.7:8000"}
    assert counts == (Series(labels, [(T0, 40), (T0 + STEP, 41), (T0 + 2 * STEP, 0)]),)
    assert goods == (Series(labels, [(T0, 38), (T0 + STEP, 38), (T0 + 2 * STEP, 0)]),)


def test_the_range_of_histograms_has_its_end_and_not_its_beginning() -> None:
    [series] = natives(answer(NATIVE), T0, T0 + 2 * STEP)
    assert [at for at, _ in series.points] == [T0 + STEP, T0 + 2 * STEP]
    assert natives(answer(NATIVE), T0 + 2 * STEP, T0 + 3 * STEP) == ()


@pytest.mark.parametrize(
    ("limit", "at_least", "at_most"),
    [
        (0.0005, 0, 2),
        (0.001, 2, 2),
        (0.125, 2, 2),
        (0.2, 2, 32),
        (0.25, 32, 32),
        (0.3, 32, 38),
        (0.5, 38, 38),
        (1, 40, 40),
        (60, 40, 40),
    ],
)
def test_only_a_bucket_across_the_limit_is_in_doubt(limit: float, at_least: float, at_most: float) -> None:
    [series] = natives(answer(NATIVE), T0 - 1, T0 + 2 * STEP)
    native = series.points[0][1]
    assert (within(native, limit, "beyond"), within(native, limit, "within")) == (at_least, at_most)


def test_the_buckets_bounds_may_be_infinite() -> None:
    native = Native(7, [(float("-inf"), 0.1, 3), (0.1, float("inf"), 4)])
    assert (within(native, 0.5, "within"), within(native, 0.5, "beyond")) == (7, 3)


def test_a_classic_series_is_no_native_histogram() -> None:
    with pytest.raises(Misconfigured, match="no native histograms; a classic one has a series _bucket"):
        natives(answer(matrix(counter((T0 / 1000, "7")))), T0 - 1, T0)
