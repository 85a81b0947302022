"""Recordings made to order, and the shortest way to replay them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rollout.judge.backtest import Backtest, Outcome
from rollout.judge.samples import read
from rollout.spec import RolloutSpec
from tests.rollout.given import ladder, spec

Written = dict[str, Any]
ERRORS = {"kind": "error-ratio", "requests": "r", "errors": "e"}
CONVERSION = {"kind": "proportion", "trials": "t", "successes": "s", "bad": "down"}
RULE = {"query": "x", "above": 0.05, "for": "2m"}
STAGES = ladder({"percent": 5, "bake": "10m"}, {"percent": 50, "bake": "10m"}, {"percent": 100, "bake": "10m"})
STICKY = {"kind": "envoy", "connection": "edge-1", "service": "checkout", "sticky": {}}


def judged(*, phi: float = 1.0, stages: Written = STAGES, policy: Written | None = None, **gates: Written) -> Backtest:
    named = {name.replace("_", "-"): gate for name, gate in gates.items()}
    whole: RolloutSpec = spec(strategy=stages, gates=named, policy=policy, approvals=None, routes=[STICKY])
    return Backtest(whole, phi=phi)


def replayed(test: Backtest, lines: Iterable[Written]) -> list[Outcome]:
    for line in lines:
        test.see(read(json.dumps(line), test.gates))
    return test.outcomes()


def one(test: Backtest, lines: Iterable[Written]) -> Outcome:
    (found,) = replayed(test, lines)
    return found


def value(at: float, number: object, percent: float = 5) -> Written:
    return {"at": at, "percent": percent, "values": {"hard-5xx": number}}


def counts(at: float, candidate: list[int], stable: list[int], percent: float = 5, gate: str = "errors") -> Written:
    return {"at": at, "percent": percent, "counts": {gate: {"candidate": candidate, "stable": stable}}}


def traffic(  # one way to say everything about a recording
    p_c: float,
    p_b: float,
    *,
    rate: float = 100,
    seconds: int = 600,
    percent: float = 5,
    every: int = 5,
    seed: int = 1,
    since: int = 0,
    gate: str = "errors",
) -> Iterator[Written]:
    draw = np.random.default_rng(seed)
    for at in range(since + every, since + seconds + 1, every):
        n_c, n_b = (int(draw.poisson(rate * part * every)) for part in (percent / 100, 1 - percent / 100))
        yield counts(at, [n_c, int(draw.binomial(n_c, p_c))], [n_b, int(draw.binomial(n_b, p_b))], percent, gate)
