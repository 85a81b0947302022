"""The answers of `/api/v1/query` and `/api/v1/query_range`, decoded: Prometheus', and all that have its HTTP API.

Beside the adapter and not in it, because nothing in here waits: bytes in, values or a typed error out. What is wrong
and what is no answer is explained in `metrics/prometheus.py`.

Native histograms come as `histograms: [[t, {count, sum, buckets: [[rule, lower, upper, count], …]}], …]`, with empty
buckets left out. A bucket that lies across the limit may hold anything; who counts says which way is the cautious one.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.counters import Series
from rollout.judge.labels import text
from rollout.judge.threshold import Vector

Straddle = Literal["within", "beyond"]
"""Where the contents of a bucket that lies across the limit are counted."""

_HINTS = {
    401: "is the token there and valid?",
    403: "is the token allowed to query?",
    404: "does the URL lack a path in front of /api/v1?",
}


class Answer(NamedTuple):
    """One answer to a query.

    Attributes:
        kind: "matrix", "vector", "scalar" or "string".
        result: as the server gave it.
    """

    kind: str
    result: list[Any]


class Native(NamedTuple):
    """One sample of a native histogram.

    Attributes:
        total: all observations, also those that are not a number.
        buckets: (lower bound, upper bound, observations); the upper bound belongs to the bucket.
    """

    total: float
    buckets: Sequence[tuple[float, float, float]]


class NativeSeries(NamedTuple):
    """Samples of one native histogram.

    Attributes:
        labels: label → value, without `__name__`.
        points: (Unix milliseconds, sample), oldest first.
    """

    labels: dict[str, str]
    points: Sequence[tuple[int, Native]]


def decoded(status: int, content_type: str, body: bytes) -> Answer:
    """What a response says.

    Raises:
        MetricsUnavailable: it is no complete answer.
        Misconfigured: Prometheus says that the query is wrong.
    """
    try:
        said = dict(json.loads(body))
    except (TypeError, ValueError) as error:
        what = f"HTTP {status} with {content_type or 'nothing'} instead of JSON"
        raise MetricsUnavailable(f"{what}; {_HINTS.get(status, 'is a login page or a proxy in front?')}") from error
    if said.get("status") != "success" or status != 200:
        words = str(said.get("error", ""))[:500]
        if status in {400, 422} and words:
            raise Misconfigured(f"the query is refused: {words}")
        raise MetricsUnavailable(": ".join(filter(None, [f"HTTP {status}", words, _HINTS.get(status)])))
    if said.get("warnings"):
        raise MetricsUnavailable(f"the data may be partial: {'; '.join(map(str, said['warnings']))[:500]}")
    data = said.get("data") or {}
    return Answer(data.get("resultType", ""), data.get("result", []))


def vectors(answer: Answer, times: range) -> dict[int, Vector]:
    """The vector at every one of these times; a scalar is a vector with one nameless element.

    Raises:
        Misconfigured: it is nothing that can be compared with a number, or two series differ in their name only.
        MetricsUnavailable: it is about other times than asked for.
    """
    found: dict[int, Vector] = {at_ms: {} for at_ms in times}
    for series in series_of(answer):
        if "histogram" in series or "histograms" in series:
            raise Misconfigured("the query answers histograms; wrap it in histogram_quantile(…) or histogram_count(…)")
        labels = text(series["metric"])
        for at_s, value in [series["value"]] if "value" in series else series["values"]:
            vector = found.get(round(at_s * 1000))
            if vector is None:
                raise MetricsUnavailable("answer for other times than asked for: does a cache align queries to steps?")
            if labels in vector:
                raise Misconfigured(f"the query answers two series that differ in their name only: {labels or '{}'}")
            vector[labels] = float(value)
    return found


def sampled(answer: Answer, after_ms: int, until_ms: int) -> tuple[Series, ...]:
    """Raw samples with after < time ≤ until; series without any are left out.

    Raises:
        Misconfigured: it is no answer to a plain selector, or the selector selects native histograms.
        MetricsUnavailable: it is about a later time than asked for.
    """
    found = []
    for series in _ranges(answer):
        if "histograms" in series:
            raise Misconfigured("the selector selects native histograms, which are no counters")
        points = [(at, float(value)) for at, value in _timed(series["values"], after_ms, until_ms)]
        if points:
            found.append(Series(_nameless(series), points))
    return tuple(found)


def natives(answer: Answer, after_ms: int, until_ms: int) -> tuple[NativeSeries, ...]:
    """Raw samples of native histograms with after < time ≤ until; series without any are left out.

    Raises:
        Misconfigured: it is no answer to a plain selector, or the selector selects no native histograms.
        MetricsUnavailable: it is about a later time than asked for.
    """
    found = []
    for series in _ranges(answer):
        if "histograms" not in series:
            raise Misconfigured("the selector selects no native histograms; a classic one has a series _bucket")
        points = [(at, _native(value)) for at, value in _timed(series["histograms"], after_ms, until_ms)]
        if points:
            found.append(NativeSeries(_nameless(series), points))
    return tuple(found)


def divided(
    found: Sequence[NativeSeries], limit: float, straddle: Straddle
) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    """All observations and those within a limit, as two counters for each histogram.

    Args:
        found: the histograms.
        limit: in the histogram's unit; an observation of exactly this is within it.
        straddle: where a bucket with this limit strictly inside it is counted.
    """
    counts = [Series(each.labels, [(at, native.total) for at, native in each.points]) for each in found]
    goods = [
        Series(each.labels, [(at, within(native, limit, straddle)) for at, native in each.points]) for each in found
    ]
    return tuple(counts), tuple(goods)


def within(native: Native, limit: float, straddle: Straddle) -> float:
    """Observations within a limit; what is in no bucket (not a number) is beyond it."""
    return sum(
        [count for lower, upper, count in native.buckets if upper <= limit or (straddle == "within" and lower < limit)]
    )


def _ranges(answer: Answer) -> list[dict[str, Any]]:
    if answer.kind != "matrix":
        raise Misconfigured("a plain selector is wanted, without a comment, an offset or a range")
    return answer.result


def _timed(points: Sequence[tuple[float, Any]], after_ms: int, until_ms: int) -> list[tuple[int, Any]]:
    timed = [(round(at_s * 1000), value) for at_s, value in points]
    if any(at > until_ms for at, _ in timed):
        raise MetricsUnavailable("answer for a later time than asked for: does a cache align queries to steps?")
    return [(at, value) for at, value in timed if at > after_ms]


def _nameless(series: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in series["metric"].items() if name != "__name__"}


def _native(said: dict[str, Any]) -> Native:
    buckets = [(float(lower), float(upper), float(count)) for _, lower, upper, count in said.get("buckets") or []]
    return Native(float(said["count"]), buckets)


def series_of(answer: Answer) -> list[dict[str, Any]]:
    """The series of an answer; a scalar is one without labels.

    Raises:
        Misconfigured: it is something else.
    """
    if answer.kind == "scalar":
        return [{"metric": {}, "value": answer.result}]
    if answer.kind in {"matrix", "vector"}:
        return answer.result
    raise Misconfigured(f"the query answers a {answer.kind or 'nothing'}, not numbers")
