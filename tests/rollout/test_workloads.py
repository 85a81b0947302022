"""The workload as people write it."""

from typing import Any

import pytest
from pydantic import ValidationError

from rollout.workloads import KubernetesDeploymentWorkload

WRITTEN: dict[str, Any] = {
    "kind": "kubernetes-deployment",
    "connection": "prod-eu",
    "namespace": "shop",
    "candidate": "checkout-canary",
    "stable": "checkout",
}


def test_the_workload_of_the_design_is_read() -> None:
    found = KubernetesDeploymentWorkload.model_validate(WRITTEN)
    assert str(found) == "kubernetes-deployment prod-eu/shop/checkout-canary"
    assert (found.spare, found.remove_candidate) == (0, True)
    assert KubernetesDeploymentWorkload.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stable": "checkout-canary"}, "the same Deployment, checkout-canary: the way back would scale it to 0"),
        ({"kind": "kubernetes-statefulset"}, "kubernetes-deployment"),
        ({"candidate": "Checkout"}, "match pattern"),
        ({"namespace": "shop/../kube-system"}, "match pattern"),
        ({"spare": -1}, "greater than or equal to 0"),
        ({"replicas": 3}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        KubernetesDeploymentWorkload.model_validate({**WRITTEN, **change})
