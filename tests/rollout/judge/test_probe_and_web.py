"""Answers of HTTP services: what is wrong with them, and the number in them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.probe import ProbeGate
from rollout.gates.web import WebGate
from rollout.judge import probe, web
from rollout.judge.fetched import Fetched, Request
from rollout.judge.threshold import Tick, fold
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, LIGHT, NOW_MS

BAD, GOOD = {"": 1.0}, {"": 0.0}


def prober(**changes: Any) -> ProbeGate:
    return ProbeGate.model_validate({"connection": "edge", "path": "/healthz"} | changes)


def reader(**changes: Any) -> WebGate:
    return WebGate.model_validate({"connection": "api", "path": "/score", "pointer": "/a", "above": 1} | changes)


# ── probe ───────────────────────────────────────────────────────────────────────────────────────


def test_a_probe_carries_the_header_that_forces_the_candidate() -> None:
    assert probe.request(prober()) == Request("/healthz", "GET", {"X-Canary": "true"})
    assert probe.request(prober(method="HEAD", header=None)) == Request("/healthz", "HEAD", {})


@pytest.mark.parametrize(
    ("gate", "fetched", "tick"),
    [
        (prober(), Fetched(200, 12), Tick(GOOD, "status 200 in 12ms")),
        (prober(status=[204, 302]), Fetched(302, 1200), Tick(GOOD, "status 302 in 1.2s")),
        (prober(), Fetched(503, 12), Tick(BAD, "status 503")),
        (prober(slower_than="1s"), Fetched(200, 1000), Tick(GOOD, "status 200 in 1s")),
        (prober(slower_than="1s"), Fetched(200, 1001), Tick(BAD, "took 1.001s")),
        (prober(contains="ok"), Fetched(200, 12, "all ok"), Tick(GOOD, "status 200 in 12ms")),
        (prober(contains="ok"), Fetched(200, 12, "sorry"), Tick(BAD, "body lacks 'ok'")),
        (prober(contains="ok"), Fetched(200, 1, "x", True), Tick(BAD, "body lacks 'ok' in its first 64 KiB")),
        (
            prober(contains="ok", slower_than="1s"),
            Fetched(500, 2500, ""),
            Tick(BAD, "status 500, took 2.5s, body lacks 'ok'"),
        ),
        (prober(), Fetched(None, 5000), Tick({}, "no answer within 5s")),
        (prober(slower_than="6s"), Fetched(None, 5000), Tick({}, "no answer within 5s")),
        (prober(slower_than="1s"), Fetched(None, 5000), Tick(BAD, "no answer within 5s")),
    ],
)
def test_what_is_wrong_is_said(gate: ProbeGate, fetched: Fetched, tick: Tick) -> None:
    assert probe.judged(gate, fetched) == tick


def test_a_probe_fails_when_every_answer_is_bad_for_long_enough() -> None:
    state, gate, said = GateState(watermark_ms=NOW_MS), prober(), ""
    for second, status in enumerate([200, 503, 503, 200, 503, 503, 503, 503], 1):
        tick = probe.judged(gate, Fetched(status, 10))
        state = fold(gate, state, NOW_MS + 5000 * second, tick, counting=True)
        said += state.verdict.value[0]
    assert said == "huuhuuub"
    assert state.sentence == (
        "status 503, beyond its limit for 15s (limit: GET /healthz: status other than 200 for 15s)"
    )


@given(st.integers(100, 599), st.integers(0, 10_000), st.text(max_size=5), st.integers(0, 5000))
@LIGHT
def test_a_slower_answer_is_never_better(status: int, took_ms: int, body: str, more: int) -> None:
    gate = prober(slower_than="1s", contains="a")
    before = probe.judged(gate, Fetched(status, took_ms, body)).vector
    after = probe.judged(gate, Fetched(status, took_ms + more, body)).vector
    assert after[""] >= before[""]


# ── web ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pointer", "document", "value"),
    [
        ("", 7, 7.0),
        ("/a", {"a": 0.5}, 0.5),
        ("/a/1/b", {"a": [0, {"b": -2}]}, -2.0),
        ("/a~1b/~0", {"a/b": {"~": 3}}, 3.0),
        ("/~01", {"~1": 4}, 4.0),
        ("//", {"": {"": 5}}, 5.0),
        ("/0", {"0": 6}, 6.0),
    ],
)
def test_a_number_is_found(pointer: str, document: object, value: float) -> None:
    assert web.judged(reader(pointer=pointer), Fetched(200, 1, json.dumps(document))) == Tick({"": value})


@pytest.mark.parametrize(
    ("fetched", "said"),
    [
        (Fetched(None, 5000), "/score does not answer within 5 s"),
        (Fetched(500, 1, '{"a": 1}'), "/score answers HTTP 500"),
        (Fetched(401, 1), "/score answers HTTP 401: is the token there and valid?"),
        (Fetched(302, 1), "/score answers HTTP 302"),
        (Fetched(200, 1, '{"a": 1}', True), "/score answers more than 64 KiB"),
        (Fetched(200, 1, "<html>"), "/score does not answer JSON"),
        (Fetched(200, 1, ""), "/score does not answer JSON"),
        (Fetched(200, 1, '{"a": NaN}'), "/score does not answer JSON"),
        (Fetched(200, 1, '{"a": Infinity}'), "/score does not answer JSON"),
        (Fetched(200, 1, "[" * 60_000), "/score does not answer JSON"),
        (Fetched(200, 1, f'{{"a": {"9" * 5000}}}'), "/score does not answer JSON"),
        (Fetched(200, 1, f'{{"a": {"9" * 400}}}'), "/score has a number at /a that is too large"),
        (Fetched(200, 1, '{"a": 1e999}'), "/score has a number at /a that is too large"),
        (Fetched(200, 1, '{"b": 1}'), "/score has nothing at /a: no 'a' in an object"),
        (Fetched(200, 1, "[1]"), "/score has nothing at /a: no 'a' in an array"),
        (Fetched(200, 1, "null"), "/score has nothing at /a: no 'a' in null"),
        (Fetched(200, 1, '{"a": "s3cret"}'), "/score has a text at /a, not a number"),
        (Fetched(200, 1, '{"a": true}'), "/score has true or false at /a, not a number"),
        (Fetched(200, 1, '{"a": null}'), "/score has null at /a, not a number"),
        (Fetched(200, 1, '{"a": []}'), "/score has an array at /a, not a number"),
    ],
)
def test_everything_else_is_no_data_with_the_reason(fetched: Fetched, said: str) -> None:
    assert web.judged(reader(), fetched) == Tick({}, said=said)


@pytest.mark.parametrize("pointer", ["/-", "/1", "/01", "/-1", "/+0", "/a", "/\u0660"])
def test_an_array_has_elements_by_plain_numbers_only(pointer: str) -> None:
    assert web.judged(reader(pointer=pointer), Fetched(200, 1, "[1]")).vector == {}


@given(st.integers(100, 599), st.text(max_size=40), st.from_regex(r"(/[a-c01]{0,2}){0,3}", fullmatch=True))
@HEAVY
def test_whatever_comes_is_a_number_or_a_reason(status: int, body: str, pointer: str) -> None:
    tick = web.judged(reader(pointer=pointer), Fetched(status, 1, body))
    assert bool(tick.vector) != bool(tick.said)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=8,
)


@given(documents, st.lists(st.sampled_from(["a", "b", "0", "1"]), max_size=3))
@HEAVY
def test_a_pointer_walks_as_a_person_would(document: object, steps: list[str]) -> None:
    here: Any = document
    try:
        for step in steps:
            here = here[int(step)] if isinstance(here, list) else here[step]
    except (LookupError, TypeError, ValueError):
        with pytest.raises(LookupError):
            web.pointed(document, "".join(f"/{step}" for step in steps))
        return
    if isinstance(document, str) and steps:
        return
    assert web.pointed(document, "".join(f"/{step}" for step in steps)) is here


def test_a_number_is_folded_like_any_other() -> None:
    gate = reader()
    state = fold(
        gate, GateState(watermark_ms=0), 1000, web.judged(gate, Fetched(200, 1, '{"a": 2}')), counting=True, most_ms=500
    )
    assert (state.verdict, state.observed_ms) == (Verdict.BREACHED, 500)
    assert state.sentence == "2, beyond its limit for 0s (limit: above 1)"
