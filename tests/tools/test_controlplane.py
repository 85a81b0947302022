"""The custom resources of the control plane come from modules that go.sum pins, and from nothing else."""

import json
from pathlib import Path

import pytest

from tools.parts import controlplane, go, places, running

GATEWAY, ISTIO = "sigs.k8s.io/gateway-api", "istio.io/api"
DEFINITIONS = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {}
spec:
  names:
    plural: any
"""


def document(plural: str) -> str:
    return DEFINITIONS.format(f"{plural}.networking.istio.io")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that wants both, and a Go that has them in its cache."""
    for each in (places, running, controlplane):
        monkeypatch.setattr(each, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(controlplane, "CRDS", tmp_path / "tools" / "crds")
    folder = tmp_path / "crds"
    folder.mkdir()
    monkeypatch.setattr(controlplane, "_CRDS_MODULE", folder)
    (folder / "go.mod").write_text(f"module crds\n\nrequire (\n\t{ISTIO} v1.0.0\n\t{GATEWAY} v2.0.0\n)\n")
    (folder / "go.sum").write_text(f"{ISTIO} v1.0.0 h1:istio=\n{GATEWAY} v2.0.0 h1:gateway=\n")
    cache = tmp_path / "cache"
    standard = cache / "gateway" / "config" / "crd" / "standard"
    standard.mkdir(parents=True)
    for plural in ("gatewayclasses", "gateways", "httproutes", "grpcroutes"):
        (standard / f"gateway.networking.k8s.io_{plural}.yaml").write_text(plural)
    generated = cache / "istio" / "kubernetes" / "customresourcedefinitions.gen.yaml"
    generated.parent.mkdir(parents=True)
    generated.write_text("---\n".join(map(document, ("gateways", "virtualservices", "destinationrules"))))
    said = [
        {"Path": ISTIO, "Version": "v1.0.0", "Sum": "h1:istio=", "Dir": str(cache / "istio")},
        {"Path": GATEWAY, "Version": "v2.0.0", "Sum": "h1:gateway=", "Dir": str(cache / "gateway")},
    ]
    answer = tmp_path / "answer"
    answer.write_text("\n".join(json.dumps(each, indent="\t") for each in said) + "\n")
    program = tmp_path / "go"
    program.write_text(f"#!/bin/sh\necho go: downloading a toolchain >&2\ncat {answer}\n")
    program.chmod(0o755)
    monkeypatch.setattr(go, "_go", lambda: str(program))
    return folder


def test_the_wanted_definitions_are_put_in_place_and_no_others(module: Path, tmp_path: Path) -> None:
    controlplane._definitions()
    found = {file.name: file.read_text() for file in (tmp_path / "tools" / "crds").iterdir()}
    assert found == {
        "gateway.networking.k8s.io_gatewayclasses.yaml": "gatewayclasses",
        "gateway.networking.k8s.io_gateways.yaml": "gateways",
        "gateway.networking.k8s.io_httproutes.yaml": "httproutes",
        "networking.istio.io_destinationrules.yaml": document("destinationrules"),
        "networking.istio.io_virtualservices.yaml": document("virtualservices"),
    }


@pytest.mark.parametrize("pins", [f"{ISTIO} v1.0.0 h1:istio=\n", f"{ISTIO} v1.0.0 h1:istio=\n{GATEWAY} v2.0.0 h1:x=\n"])
def test_a_module_that_is_not_pinned_is_refused(module: Path, pins: str) -> None:
    (module / "go.sum").write_text(pins)
    with pytest.raises(running.UnavailableError, match="does not pin every one of"):
        go.fetch(module, ISTIO, GATEWAY)


def test_the_pins_of_the_repository_name_both_modules() -> None:
    wanted = (places.ROOT / "tools" / "crds" / "go.mod").read_text()
    pins = (places.ROOT / "tools" / "crds" / "go.sum").read_text()
    for name in (GATEWAY, ISTIO):
        (version,) = [line.split()[1] for line in wanted.splitlines() if line.startswith(f"\t{name} ")]
        assert f"\n{name} {version} h1:" in f"\n{pins}"
