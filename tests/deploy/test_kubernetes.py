"""deploy/kubernetes: the API server takes every manifest as it is written, and the examples name what they make."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from starter.specfile import load
from testbed.kubernetes import ControlPlane
from testbed.kubernetes.api import path_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
RIGHTS = sorted(FOLDER.glob("rbac/*.yaml"))
BOTH = ("checkout.yaml", "checkout-canary.yaml")
EXAMPLES = {
    "rolling-kubernetes.yaml": ("checkout.yaml",),
    "checkout-rolling.json": ("checkout.yaml",),
    "canary-gateway-api.yaml": (*BOTH, "gateway-api.yaml"),
    "canary-ingress-nginx.yaml": (*BOTH, "ingress-nginx.yaml"),
    "canary-istio.yaml": (*BOTH, "istio.yaml"),
}
_KINDS = {
    "deployment": "Deployment",
    "http_route": "HTTPRoute",
    "ingress": "Ingress",
    "candidate_ingress": "Ingress",
    "virtual_service": "VirtualService",
    "candidate": "Service",
    "stable": "Service",
}

Manifest = dict[str, Any]


def read(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def of(name: str, kind: str) -> Manifest:
    (found,) = [each for each in read(FOLDER / name) if each["kind"] == kind]
    return found


@pytest.mark.server
@pytest.mark.parametrize("file", [*FILES, *RIGHTS], ids=lambda file: file.name)
def test_the_api_server_takes_it_without_a_remark(file: Path, control_plane: ControlPlane, namespace: str) -> None:
    for group in ("gateway-api", "istio"):
        control_plane.install(group)
    for manifest in read(file):
        here = manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}
        # Strict: a field that the server does not know is refused instead of dropped.
        made = control_plane.api.request(
            "POST", path_of(manifest["kind"], namespace=namespace), here, dryRun="All", fieldValidation="Strict"
        )
        assert made["metadata"]["name"] == manifest["metadata"]["name"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_names_what_its_manifests_make(example: str) -> None:
    made = {(each["kind"], each["metadata"]["name"]) for file in EXAMPLES[example] for each in read(FOLDER / file)}
    spec = load(str(ROOT / "examples" / example)).written
    (route,) = spec["routes"]
    named = {(_KINDS[field], name) for field, name in route.items() if field in _KINDS}
    if "workload" in spec:
        named |= {("Deployment", spec["workload"][pool]) for pool in ("candidate", "stable")}
    assert named
    assert named <= made
    assert route["namespace"] == "shop"


def test_what_examples_name_is_in_their_namespace() -> None:
    used = {file for files in EXAMPLES.values() for file in files}
    assert {each["metadata"]["namespace"] for file in used for each in read(FOLDER / file)} == {"shop"}


def test_the_deployment_is_the_articles() -> None:
    spec = of("checkout.yaml", "Deployment")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 6
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 1}
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"]


@pytest.mark.parametrize("file", BOTH)
def test_a_pod_has_time_to_end_and_its_service_selects_it(file: str) -> None:
    spec = of(file, "Deployment")["spec"]
    template, selector = spec["template"], of(file, "Service")["spec"]["selector"]
    (container,) = template["spec"]["containers"]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] < template["spec"]["terminationGracePeriodSeconds"]
    assert selector == spec["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()


def test_all_traffic_starts_on_stable() -> None:
    (rule,) = of("gateway-api.yaml", "HTTPRoute")["spec"]["rules"]
    (http,) = of("istio.yaml", "VirtualService")["spec"]["http"]
    weights = {each["name"]: each["weight"] for each in rule["backendRefs"]}
    assert weights == {each["destination"]["host"]: each["weight"] for each in http["route"]}
    assert weights == {"checkout": 100, "checkout-canary": 0}


def test_both_ingresses_are_for_the_same_requests() -> None:
    stable, canary = read(FOLDER / "ingress-nginx.yaml")
    assert canary["metadata"]["annotations"] == {
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": "0",
    }
    assert yaml.safe_dump(canary["spec"]).replace("checkout-canary", "checkout") == yaml.safe_dump(stable["spec"])
