"""Every way in which a metrics server fails, and what becomes of it."""

import asyncio
import json
import math
import re
import socket
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.metrics.prometheus import ticks
from activities.query_answer import Answer, decoded, vectors
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.counters import Series
from tests.activities.metrics.double import STEP, T0, Asked, Double, Make, error, matrix, one, success

# ── What is asked ───────────────────────────────────────────────────────────────────────────────


async def test_one_range_request_asks_for_every_tick_to_the_millisecond(double: Double, make: Make) -> None:
    double.body = matrix(({}, [(T0 / 1000, "1"), ((T0 + 2 * STEP) / 1000, "3")]))
    found = await make().evaluate("sum(up)", T0, T0 + 2 * STEP + 14_999, STEP)
    assert found == {T0: {"": 1.0}, T0 + STEP: {}, T0 + 2 * STEP: {"": 3.0}}
    [asked] = double.asked
    assert asked.path == "/api/v1/query_range"
    assert asked.form == {
        "query": "sum(up)",
        "start": "1795340310.123",
        "end": "1795340340.123",
        "step": "15000ms",
        "timeout": "5000ms",
    }


async def test_no_tick_is_no_request(double: Double, make: Make) -> None:
    assert await make().evaluate("up", T0, T0 - 1, STEP) == {}
    assert double.asked == []


async def test_long_ranges_come_in_chunks(double: Double, make: Make) -> None:
    def echo(asked: Asked) -> bytes:
        return matrix(({}, [(at, "1") for at in sorted({float(asked.form["start"]), float(asked.form["end"])})]))

    double.body = echo
    found = await make().evaluate("up", T0, T0 + 20_000 * 1000, 1000)
    assert len(found) == 20_001
    assert [round(float(asked.form["start"]) * 1000) for asked in double.asked] == [T0, T0 + 10**7, T0 + 2 * 10**7]
    assert [at for at, vector in found.items() if vector] == [
        T0,
        T0 + 9_999_000,
        T0 + 10**7,
        T0 + 19_999_000,
        T0 + 2 * 10**7,
    ]


@given(st.integers(0, 2**42), st.integers(-10, 10**9), st.integers(1, 10**6))
def test_chunks_cover_every_tick_once(start: int, length: int, step: int) -> None:
    chunks = ticks(start, start + length, step)
    assert sum(map(len, chunks)) == max(0, length // step + 1)
    assert all(0 < len(chunk) <= 10_000 and chunk.step == step for chunk in chunks)
    assert all(left[-1] + step == right[0] for left, right in pairwise(chunks))
    assert not chunks or chunks[0][0] == start


async def test_the_token_is_read_for_every_request(double: Double, make: Make, tmp_path: Path) -> None:
    double.body = matrix()
    source = make(token_file=tmp_path / "token", headers={"X-Scope-OrgID": "shop"})
    for token in ("first", "second"):
        (tmp_path / "token").write_text(f"{token}\n", encoding="utf-8")
        await one(source)
    assert [asked.headers["Authorization"] for asked in double.asked] == ["Bearer first", "Bearer second"]
    assert {asked.headers["X-Scope-OrgID"] for asked in double.asked} == {"shop"}


async def test_the_environment_changes_nothing(
    double: Double, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password thief\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / "token").write_text("mine", encoding="utf-8")
    double.body = matrix()
    await one(make(token_file=tmp_path / "token"))
    await one(make())
    assert [asked.headers.get("Authorization") for asked in double.asked] == ["Bearer mine", None]


async def test_rollouts_that_ask_the_same_at_once_share_one_request(double: Double, make: Make) -> None:
    double.body = matrix(({}, [(T0 / 1000, "1")]))
    source = make()
    assert await asyncio.gather(*(one(source) for _ in range(20)), one(source, "other")) == [{"": 1.0}] * 21
    assert len(double.asked) == 2
    await one(source)
    assert len(double.asked) == 3


async def test_one_caller_that_gives_up_does_not_take_the_answer_from_the_others(double: Double, make: Make) -> None:
    double.body, double.drip = matrix(({}, [(T0 / 1000, "1")])), 0.001
    source = make()
    first, second = asyncio.ensure_future(one(source)), asyncio.ensure_future(one(source))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second == {"": 1.0}
    assert len(double.asked) == 1


async def test_samples_are_asked_for_as_they_are_up_to_the_millisecond(double: Double, make: Make) -> None:
    double.body = matrix(({"__name__": "x_total", "version": "canary"}, [(T0 / 1000 - 5, "1"), (T0 / 1000, "3")]))
    assert await make().samples('x_total{a="b"}', T0 - 5000, T0) == (Series({"version": "canary"}, [(T0, 3.0)]),)
    [asked] = double.asked
    assert asked.path == "/api/v1/query"
    assert asked.form == {"query": 'x_total{a="b"}[5000ms]', "time": "1795340310.123", "timeout": "5000ms"}


async def test_samples_and_both_halves_of_a_histogram_share_requests_too(double: Double, make: Make) -> None:
    buckets = [[0, "0.25", "1", "2"], [0, "1", "2", "1"]]
    native = {"metric": {}, "histograms": [[T0 / 1000, {"count": "3", "sum": "2", "buckets": buckets}]]}

    def body(asked: Asked) -> bytes:
        return success("matrix", [native]) if "seconds" in asked.form["query"] else matrix(({}, [(T0 / 1000, "1")]))

    double.body = body
    source = make()
    one, same, least, most = await asyncio.gather(
        source.samples("x_total", T0 - 5000, T0),
        source.samples("x_total", T0 - 5000, T0),
        source.histograms("seconds", 0.5, T0 - 5000, T0, "beyond"),
        source.histograms("seconds", 0.5, T0 - 5000, T0),
    )
    assert one == same == (Series({}, [(T0, 1.0)]),)
    assert least == ((Series({}, [(T0, 3.0)]),), (Series({}, [(T0, 0.0)]),))
    assert most == ((Series({}, [(T0, 3.0)]),), (Series({}, [(T0, 2.0)]),))
    assert len(double.asked) == 2


async def test_samples_with_warnings_or_from_nobody_are_no_data(double: Double, make: Make) -> None:
    double.body = matrix(({}, [(T0 / 1000, "1")]), warnings=["store 10 is away"])
    with pytest.raises(MetricsUnavailable, match="partial: store 10 is away"):
        await make().samples("x_total", T0 - 5000, T0)
    double.status = 503
    with pytest.raises(MetricsUnavailable, match="HTTP 503"):
        await make().histograms("x_total", 0.5, T0 - 5000, T0)
    double.status, double.body = 400, error("bad_data", "1:9: parse error: ranges only allowed for vector selectors")
    with pytest.raises(Misconfigured, match="ranges only allowed"):
        await make().samples("sum(x_total)", T0 - 5000, T0)


# ── What is answered ────────────────────────────────────────────────────────────────────────────


async def test_labels_are_one_sorted_text_without_the_name(double: Double, make: Make) -> None:
    labels = {"version": "canary", "__name__": "http_requests_total", "path": 'a "quoted" \\ ü\n'}
    double.body = matrix((labels, [(T0 / 1000, "1")]), ({"__name__": "up"}, [(T0 / 1000, "2")]))
    assert await one(make()) == {'{path="a \\"quoted\\" \\\\ ü\\n", version="canary"}': 1.0, "": 2.0}


async def test_not_a_number_and_infinity_arrive_as_they_are(double: Double, make: Make) -> None:
    values = {"NaN": "NaN", "high": "+Inf", "low": "-Inf", "tiny": "1e-9"}
    double.body = matrix(*(({"is": name}, [(T0 / 1000, value)]) for name, value in values.items()))
    found = await one(make())
    assert math.isnan(found['{is="NaN"}'])
    assert (found['{is="high"}'], found['{is="low"}'], found['{is="tiny"}']) == (math.inf, -math.inf, 1e-9)


async def test_a_scalar_is_a_vector_without_labels(double: Double, make: Make) -> None:
    double.body = success("scalar", [T0 / 1000, "0.25"])
    assert await one(make()) == {"": 0.25}


async def test_nothing_is_an_empty_vector_and_infos_are_ignored(double: Double, make: Make) -> None:
    double.body = matrix(infos=["PromQL info: metric might not be a counter"])
    assert await one(make()) == {}


async def test_missing_names_are_those_without_a_sample_in_the_last_hour(double: Double, make: Make) -> None:
    source = make()
    assert await source.missing(()) == ()
    double.body = success("vector", [{"metric": {"__name__": "b_total"}, "value": [T0 / 1000, "3"]}])
    assert await source.missing(("a_total", "b_total", "c:ratio")) == ("a_total", "c:ratio")
    [asked] = double.asked
    assert asked.form["query"] == 'count by (__name__) (last_over_time({__name__=~"a_total|b_total|c:ratio"}[1h]))'


# ── What is wrong ───────────────────────────────────────────────────────────────────────────────

HISTOGRAM = json.dumps(
    {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "histograms": [[T0 / 1000, {}]]}]}}
).encode()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            400,
            error("bad_data", "1:4: parse error: unexpected end of input"),
            "1:4: parse error: unexpected end of input",
        ),
        (422, error("execution", "found duplicate series for the match group"), "found duplicate series"),
        (200, HISTOGRAM, "histogram_quantile"),
        (200, success("string", [T0 / 1000, "text"]), "answers a string"),
        (200, success("streams", []), "answers a streams"),
        (
            200,
            matrix(({"__name__": "a"}, [(T0 / 1000, "1")]), ({"__name__": "b"}, [(T0 / 1000, "2")])),
            "differ in their name only",
        ),
    ],
)
async def test_a_wrong_query_is_misconfigured(double: Double, make: Make, status: int, body: bytes, words: str) -> None:
    double.status, double.body = status, body
    with pytest.raises(Misconfigured, match=re.escape(words)):
        await one(make())
    assert len(double.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", "HTTP 400"),
        (401, b"Unauthorized", "token"),
        (403, error("", "no"), "allowed"),
        (404, b"404 page not found", "path"),
        (404, b"{}", "path"),
        (408, b"", "HTTP 408"),
        (429, b"slow down", "HTTP 429"),
        (500, error("internal", "storage is on fire"), "storage is on fire"),
        (502, b"<html>", "HTTP 502"),
        (503, error("timeout", "query timed out in expression evaluation"), "query timed out"),
        (504, b"", "HTTP 504"),
        (302, b"", "HTTP 302"),
        (204, b"", "HTTP 204"),
        (200, b"<html>Please log in</html>", "login page"),
        (200, b"", "instead of JSON"),
        (200, b'{"status":"succ', "instead of JSON"),
        (200, b"[]", "HTTP 200"),
        (200, b"7", "instead of JSON"),
        (200, error("execution", "late"), "late"),
        (200, matrix(({}, [(T0 / 1000, "1")]), warnings=["store 10 is away"]), "partial: store 10 is away"),
        (200, matrix(({}, [(T0 / 1000 - 3, "1")])), "other times"),
        (200, matrix(({}, [(T0 / 1000, "many")])), "not understood"),
        (200, success("matrix", [{"values": []}]), "not understood"),
        (200, success("matrix", None), "not understood"),
    ],
)
async def test_no_complete_answer_is_no_data_and_never_a_verdict(
    double: Double, make: Make, status: int, body: bytes, words: str
) -> None:
    double.status, double.body, double.headers = (
        status,
        body,
        {"Location": f"{double.url}/elsewhere", "Retry-After": "3600"},
    )
    started = time.monotonic()
    with pytest.raises(MetricsUnavailable, match=words) as unavailable:
        await one(make())
    assert time.monotonic() - started < 1
    assert len(double.asked) == 1
    assert double.url in str(unavailable.value)


async def test_a_hang_ends_at_the_deadline(double: Double, make: Make) -> None:
    double.hang = True
    with pytest.raises(MetricsUnavailable, match=r"no complete answer within 0\.1 s"):
        await one(make(timeout_s=0.1))
    assert len(double.asked) == 1


async def test_a_slow_drip_ends_at_the_deadline_too(double: Double, make: Make) -> None:
    double.body, double.drip = matrix(({}, [(T0 / 1000, "1")])), 0.02
    started = time.monotonic()
    with pytest.raises(MetricsUnavailable, match=r"no complete answer within 0\.2 s"):
        await one(make(timeout_s=0.2))
    assert time.monotonic() - started < 1


async def test_a_dripping_head_does_not_hold_the_caller(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asking = asyncio.ensure_future(one(make(url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.15)))
        await asyncio.sleep(0.05)
        peer, _ = listener.accept()
        with peer:
            for _ in range(10):
                peer.send(b"H")
                await asyncio.sleep(0.05)
            assert asking.done()
        with pytest.raises(MetricsUnavailable, match="no answer"):
            await asking


async def test_an_answer_without_end_is_cut(double: Double, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.metrics.prometheus._MOST_BYTES", 1000)
    double.body = b" " * 100_000
    with pytest.raises(MetricsUnavailable, match="aggregate"):
        await one(make())


async def test_nobody_there_is_said_in_one_line(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(MetricsUnavailable, match="refused") as unavailable:
        await one(make(url=f"http://127.0.0.1:{port}/prometheus/"))
    assert time.monotonic() - started < 0.5  # the package's own retries take six seconds
    assert len(str(unavailable.value)) < 300


async def test_a_redirect_is_not_followed(double: Double, make: Make) -> None:
    double.status, double.headers = 307, {"Location": f"{double.url}/api/v1/query_range"}
    with pytest.raises(MetricsUnavailable, match="HTTP 307"):
        await one(make(headers={"X-Scope-OrgID": "shop"}))
    assert len(double.asked) == 1


async def test_an_unknown_certificate_authority_is_no_answer(double: Double, make: Make, tmp_path: Path) -> None:
    with pytest.raises(MetricsUnavailable):
        await one(make(url=double.url.replace("http:", "https:")))
    with pytest.raises(MetricsUnavailable):
        await one(make(url=double.url.replace("http:", "https:"), ca_file=tmp_path / "none.pem"))


# ── Pure ────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(100, 599), st.text(max_size=20), st.binary(max_size=60))
def test_whatever_comes_is_an_answer_or_a_typed_error(status: int, content_type: str, body: bytes) -> None:
    with suppress(MetricsUnavailable, Misconfigured):
        assert isinstance(decoded(status, content_type, body), Answer)


@given(st.lists(st.floats(), min_size=1, max_size=30))
def test_values_survive(values: list[float]) -> None:
    times = range(T0, T0 + 250 * len(values), 250)
    series = {"metric": {}, "values": [[at / 1000, str(value)] for at, value in zip(times, values, strict=True)]}
    found = vectors(Answer("matrix", [series]), times)
    for at, value in zip(times, values, strict=True):
        assert found[at][""] == value or math.isnan(value)
