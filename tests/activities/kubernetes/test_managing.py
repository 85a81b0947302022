"""Who else writes an object; samples as a real API server keeps them."""

import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from activities.kubernetes import Conflict, gitops, managers, suspects
from activities.kubernetes.errors import named
from rollout.errors import NotPermitted, RouterUnreachable
from testbed.kubernetes import ControlPlane, objects
from testbed.processes import wait_until

REPLICAS = ("f:spec", "f:replicas")
SCALE: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
IMAGE = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"app"}', "f:image")


def entry(manager: str, fields: dict[str, Any], time: str | None = "2026-11-29T08:38:28Z") -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}


def owned(*entries: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries), **metadata}}


def test_managers_of_a_field_are_told_the_latest_first_and_we_are_none() -> None:
    found = owned(
        entry("kubectl", SCALE, "2026-11-29T08:00:00Z"),
        entry("sluice", SCALE, "2026-11-29T09:00:00Z"),
        entry("hpa", SCALE, "2026-11-29T08:30:00+00:00"),
        entry("kube-controller-manager", {"f:status": {"f:replicas": {}}}, "2026-11-29T09:30:00Z"),
        entry("kubectl", {"f:spec": {"f:replicas": {}, "f:paused": {}}}, "2026-11-29T08:10:00Z"),
    )
    assert managers(found, *REPLICAS) == ("hpa", "kubectl")


@pytest.mark.parametrize("time", [None, "yesterday", "2026-11-29", "2026-11-29T08:00:00"])
def test_a_time_that_says_little_is_no_reason_to_fail(time: str | None) -> None:
    found = owned(entry("kubectl", SCALE, time), entry("hpa", SCALE, "2026-11-29T08:38:28Z"))
    assert managers(found, *REPLICAS) == ("hpa", "kubectl")


def test_who_owns_a_list_as_a_whole_owns_what_is_in_it() -> None:
    found = owned(entry("gitops", {"f:spec": {"f:rules": {}}}))
    assert managers(found, "f:spec", "f:rules", "f:weight") == ("gitops",)
    assert managers(found, "f:spec", "f:parentRefs") == ()


@pytest.mark.parametrize("found", [{}, {"metadata": {}}, owned(entry("kubectl", {})), owned({"manager": "x"})])
def test_an_object_that_tells_nothing_has_no_suspects(found: dict[str, Any]) -> None:
    assert suspects(found, *REPLICAS) == ""


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/shop"}}, "Argo CD"),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"labels": {"app.kubernetes.io/instance": "shop"}, "annotations": None}, None),
    ],
)
def test_tools_are_known_by_their_labels(metadata: dict[str, Any], tool: str | None) -> None:
    assert gitops(owned(**metadata)) == tool
    assert (f"{tool} manages this object" in suspects(owned(**metadata), *REPLICAS)) is (tool is not None)


@pytest.mark.server
def test_the_api_server_says_who_set_replicas_and_image(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.create(objects.deployment("shop", replicas=1), namespace)
    api.patch("Deployment", "shop", {"spec": {"replicas": 2}}, namespace, subresource="scale", fieldManager="hpa")
    image = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop:2"}]}}}}
    found = api.patch("Deployment", "shop", image, namespace, how="strategic", fieldManager="kubectl-set")
    assert managers(found, *REPLICAS) == ("hpa",)
    assert managers(found, *IMAGE) == ("kubectl-set",)
    assert suspects(found, *REPLICAS) == " (last set by hpa)"

    def told() -> bool:
        return "kube-controller-manager" in managers(api.get("Deployment", "shop", namespace), "f:status", "f:replicas")

    wait_until(told, within_s=30, what="the controller writes the status")


def refusal(status: int, **told: Any) -> ApiException:
    error = ApiException(status=status, reason="no")
    error.body = json.dumps({"kind": "Status", **told})
    return error


def test_owners_of_a_conflict_are_taken_out_of_its_causes() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": 'conflict with "hpa"'},
        {"reason": "FieldManagerConflict", "field": ".spec", "message": 'conflict with "gitops" using apps/v1'},
        {"reason": "FieldValueInvalid", "message": 'no "owner" here'},
        {"reason": "FieldManagerConflict", "message": "nobody is named"},
    ]
    found = named(refusal(409, message="Apply failed", details={"causes": causes}), "PATCH", 3)
    assert isinstance(found, Conflict)
    assert found.owners == ("gitops", "hpa")


def test_a_long_sentence_is_cut_and_a_missing_one_is_not_missed() -> None:
    assert str(named(refusal(500, message="word " * 200), "GET", 3)).endswith("word …)")
    assert "(500 no)" in str(named(refusal(500), "GET", 3))
    assert isinstance(named(refusal(403, message=None), "GET", 3), NotPermitted)
    assert str(named(TimeoutError(), "GET x", 3)) == "the Kubernetes API server did not answer GET x within 3 s"
    assert isinstance(named(ConnectionResetError("reset"), "GET", 3), RouterUnreachable)
