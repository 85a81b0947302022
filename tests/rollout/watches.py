"""The watch that the tests of watching order, and what it may know."""

from datetime import timedelta

from rollout.judge.verdict import GateState
from rollout.messages import Unseen, WatchHealth, Watching
from tests.rollout.given import MINUTE, NOW_MS, OWNER, gate, spec, state

POLL_MS = 5_000
ROUTE = "envoy edge-1/checkout"
HOLD_MS = 300_000


def order(**changes: object) -> WatchHealth:
    return WatchHealth.model_validate(
        {
            "gates": {"errors": gate(**{"for": "15s"}), "orders": gate(above=None, below=1)},
            "since_ms": NOW_MS,
            "bake": MINUTE,
            "poll": timedelta(milliseconds=POLL_MS),
            "no_data_hold": 5 * MINUTE,
            "routes": spec().routes,
            "percent": 5,
            "epoch": 7,
            "owner": OWNER,
        }
        | changes
    )


def watching(states: dict[str, GateState] | None = None, **changes: object) -> Watching:
    healthy = {"errors": state(observed=MINUTE), "orders": state(observed=MINUTE)}
    return Watching.model_validate({"states": healthy | (states or {}), "watermark_ms": NOW_MS} | changes)


def blind(name: str, seconds: float) -> dict[str, Unseen]:
    return {name: Unseen(since_ms=NOW_MS - round(seconds * 1000), reason="no answer")}
