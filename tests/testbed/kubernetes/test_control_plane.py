"""A real API with real controllers: what the rest of the tests takes for granted about it."""

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.kubernetes import ApiRefused, ControlPlane, objects, wait_available
from testbed.processes import PartFailed, wait_until

pytestmark = pytest.mark.server


def condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = found.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def test_a_deployment_becomes_available_with_its_pods_on_the_fake_node(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    api.create(objects.deployment("shop", replicas=3, version="stable"), namespace)
    found = wait_available(api, namespace, "shop", 3)
    assert condition(found, "Available")["status"] == "True"
    pods = api.list("Pod", namespace, labels="app=shop")
    assert [pod["spec"]["nodeName"] for pod in pods] == ["kwok-0"] * 3
    assert len({pod["status"]["podIP"] for pod in pods}) == 3
    assert {pod["metadata"]["labels"]["version"] for pod in pods} == {"stable"}


def test_pods_become_ready_when_their_template_says(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    began = time.monotonic()
    api.create(objects.deployment("slow", replicas=1, ready_after="1500ms"), namespace)
    wait_available(api, namespace, "slow", 1)
    assert time.monotonic() - began >= 1.5


def test_a_version_that_is_never_ready_exceeds_its_deadline_and_the_old_one_stays(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    api.create(objects.deployment("shop", "shop:1.0", 4, max_surge=1, max_unavailable=1), namespace)
    wait_available(api, namespace, "shop", 4)
    bad = objects.deployment(
        "shop", "shop:1.1", 4, max_surge=1, max_unavailable=1, ready="never", progress_deadline_s=1
    )
    api.replace(bad, namespace)

    def exceeded() -> bool:
        found = api.get("Deployment", "shop", namespace)
        late = condition(found, "Progressing").get("reason") == "ProgressDeadlineExceeded"
        # The deadline of a second may pass before the first old pod has gone.
        return late and found["status"]["availableReplicas"] == 3

    wait_until(exceeded, within_s=30, what="the deadline of shop:1.1 is exceeded, with three of the old ones")
    found = api.get("Deployment", "shop", namespace)
    assert condition(found, "Available")["status"] == "True"


def test_a_version_that_crashes_says_so_in_its_pods(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.create(objects.deployment("shop", replicas=1, ready="crash"), namespace)

    def crashes() -> bool:
        states = [
            container["state"].get("waiting", {}).get("reason")
            for pod in api.list("Pod", namespace)
            for container in pod.get("status", {}).get("containerStatuses", [])
        ]
        return states == ["CrashLoopBackOff"]

    wait_until(crashes, within_s=15, what="the pod crashes")


def test_a_stateful_set_keeps_pods_below_its_partition(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.create(objects.stateful_set("shop", "shop:1.0", 3, parallel=True), namespace)
    wait_available(api, namespace, "shop", 3, kind="StatefulSet")
    api.replace(objects.stateful_set("shop", "shop:1.1", 3, parallel=True, partition=2), namespace)

    def images() -> list[str]:
        pods = sorted(api.list("Pod", namespace), key=lambda pod: str(pod["metadata"]["name"]))
        return [pod["spec"]["containers"][0]["image"] for pod in pods]

    wait_until(lambda: images() == ["shop:1.0", "shop:1.0", "shop:1.1"], within_s=15, what="one pod is updated")


def test_a_token_of_a_service_account_may_do_what_its_role_says_and_no_more(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    token = control_plane.token(namespace, "worker")
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "worker"}, "rules": rules}
    subjects = [{"kind": "ServiceAccount", "name": "worker", "namespace": namespace}]
    reference = {"apiGroup": group, "kind": "Role", "name": "worker"}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "worker"},
        "subjects": subjects,
        "roleRef": reference,
    }
    api.create(role, namespace)
    api.create(binding, namespace)
    api.create(objects.deployment("shop", replicas=0), namespace)

    def allowed() -> bool:
        try:
            return bool(worker.get("Deployment", "shop", namespace))
        except ApiRefused as refused:
            if refused.code != 403:
                raise
            return False

    with control_plane.client(token) as worker:
        wait_until(allowed, within_s=10, what="the role is in force")
        with pytest.raises(ApiRefused, match="cannot patch resource") as refused:
            worker.patch("Deployment", "shop", {"spec": {"replicas": 1}}, namespace)
        assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
        api.delete("ServiceAccount", "worker", namespace)

        def revoked() -> bool:
            try:
                worker.get("Deployment", "shop", namespace)
            except ApiRefused as refused:
                return refused.code == 401
            return False

        wait_until(revoked, within_s=20, what="the token of a deleted account is refused")


def test_a_kubeconfig_is_for_its_owner_only(control_plane: ControlPlane, namespace: str) -> None:
    path = control_plane.kubeconfig_for(control_plane.token(namespace, "worker"), namespace=namespace)
    for each in (path, control_plane.kubeconfig):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    assert config["clusters"][0]["cluster"]["server"] == control_plane.url
    assert Path(config["clusters"][0]["cluster"]["certificate-authority"]) == control_plane.ca_file
    assert config["contexts"][0]["context"]["namespace"] == namespace


def test_what_was_written_survives_the_death_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.create(objects.deployment("shop", replicas=2), namespace)
    before = wait_available(api, namespace, "shop", 2)
    control_plane.kill_api()
    try:
        with pytest.raises(PartFailed, match="kube-apiserver ended with exit code -9"):
            control_plane.check()
    finally:
        control_plane.start_api()
    control_plane.check()
    assert api.get("Deployment", "shop", namespace)["metadata"]["uid"] == before["metadata"]["uid"]
    # The controllers and the player of pods have found it again.
    api.patch("Deployment", "shop", {"spec": {"replicas": 3}}, namespace)
    wait_available(api, namespace, "shop", 3, within_s=60)


def test_resources_of_gateway_api_and_istio_are_served_when_asked_for(
    control_plane: ControlPlane, namespace: str
) -> None:
    for what in ("gateway-api", "istio", "istio"):
        control_plane.install(what)
    api = control_plane.api
    for manifest in (
        objects.gateway(),
        objects.http_route("shop", {"shop-stable": 95, "shop-canary": 5}, forced={("x-canary", "true"): "shop-canary"}),
        objects.virtual_service("shop", {"stable": 95, "canary": 5}, host="shop"),
        objects.destination_rule("shop", "shop", {"stable": {"version": "1"}, "canary": {"version": "2"}}),
        objects.ingress("shop", "shop-stable"),
        objects.hpa("shop", "shop", least=2, most=4),
        objects.pdb("shop", {"app": "shop"}, min_available=1),
        objects.service("shop", {"app": "shop"}),
    ):
        made = api.create(manifest, namespace)
        assert api.get(made["kind"], made["metadata"]["name"], namespace)["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(ApiRefused) as refused:
        api.create(objects.http_route("wrong", {"shop-stable": -1}), namespace)
    assert refused.value.code == 422


def test_a_kind_that_is_not_known_is_named(control_plane: ControlPlane) -> None:
    with pytest.raises(ValueError, match="Elephant is not in the table of kinds"):
        control_plane.api.list("Elephant")
    with pytest.raises(ValueError, match="which one is shop in"):
        control_plane.api.get("Deployment", "shop")


def test_nothing_is_left_when_it_has_stopped(tmp_path: Path) -> None:
    with ControlPlane(tmp_path) as running:
        running.check()
        processes = [part.pid for part in running.parts]
        running.kwok.kill()
        with pytest.raises(PartFailed, match="kwok ended"):
            running.wait(lambda: False, "nothing", within_s=5)
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
