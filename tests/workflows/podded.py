"""Rollouts whose pods follow the traffic."""

from typing import Any

from tests.fakes.workloads import FakeWorkloads
from tests.workflows.trial import Trial, Trials


def with_pods(trial: Trial, **changes: object) -> FakeWorkloads:
    """Let a rollout have pods that follow it."""
    trial.spec["workload"] = {
        "kind": "kubernetes-deployment",
        "connection": trial.service,
        "namespace": "shop",
        "candidate": "checkout-canary",
        "stable": "checkout",
    }
    pods = FakeWorkloads(**changes)  # type: ignore[arg-type]  # its fields, by name
    trial.connections.workloads[trial.service] = pods
    return pods


async def baking(trials: Trials, *arguments: Any, stable: int = 4, **spec: Any) -> tuple[Trial, FakeWorkloads]:
    """A rollout with pods that bakes, and its pods; stable has so many."""
    trial = trials.trial(*arguments, **spec)
    pods = with_pods(trial, stable=stable)
    await trial.start()
    await trial.until_baking()
    return trial, pods


async def until_awaited(trial: Trial) -> None:
    """Wait until it says that it waits for the pods of the last percent."""
    await trial.until(lambda now: "pods for 100 % are waited for" in now.details, "it waits for them")
