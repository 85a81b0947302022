"""Rollouts whose pods follow the traffic."""

from tests.fakes.workloads import FakeWorkloads
from tests.workflows.trial import Trial


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
