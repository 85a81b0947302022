"""A Kubernetes control plane as ordinary processes: etcd, kube-apiserver, kube-controller-manager and kwok.

One binary with four names, compiled from the published Go modules (see `tools/controlplane`), because nobody publishes
these programs in a package index. What comes with it are the definitions of the custom resources that routers write:
those of Gateway API and of Istio, out of their own modules.

Rejected: kind, minikube and k3s, which want a container engine, and a scheduler, whose work an admission policy does.
"""

import re
import shutil

from tools.parts import go
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, empty, link, stamp, stamped
from tools.parts.running import UnavailableError, ask

VERSION = "1.36.3"
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kwok")
CRDS = TOOLS / "crds"
_MODULE = ROOT / "tools" / "controlplane"
_CRDS_MODULE = ROOT / "tools" / "crds"
_GATEWAY = "sigs.k8s.io/gateway-api"
_ISTIO = "istio.io/api"
# Of some thirty definitions, those that routers read or write: each one costs the API server memory and time.
_GATEWAY_PLURALS = ("gatewayclasses", "gateways", "httproutes")
_ISTIO_PLURALS = ("virtualservices", "destinationrules")

# What Kubernetes' own build script tells the linker. Modules carry no commit; clients want 40 digits, and a date.
_VERSION_PACKAGE = "k8s.io/component-base/version"
_SAID = {
    "gitVersion": f"v{VERSION}",
    "gitMajor": "1",
    "gitMinor": "36",
    "gitTreeState": "clean",
    "gitCommit": "0" * 40,
    "buildDate": "2026-07-22T18:07:38Z",
}


def _pins() -> str:
    sources = [_MODULE / name for name in ("go.mod", "go.sum", "main.go")]
    said = str((_SAID, _GATEWAY_PLURALS, _ISTIO_PLURALS))
    return digest(VERSION, said, *sources, _CRDS_MODULE / "go.mod", _CRDS_MODULE / "go.sum")


def _answers() -> str | None:
    found = re.search(r"Kubernetes v(\S+)", ask(BIN / "kube-apiserver", "--version"))
    return found.group(1) if found else None


def _version() -> str | None:
    return _answers() if stamped("controlplane", _pins()) and CRDS.is_dir() else None


def _obtain() -> None:
    _definitions()
    print("  compiling the control plane from its Go modules: 5 to 15 minutes on 2 cores the first time, seconds later")
    built = TOOLS / "controlplane" / "controlplane"
    go.build(
        _MODULE,
        ".",
        built,
        link_flags=" ".join(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in _SAID.items()),
        env={"CGO_ENABLED": "0"},  # with a C compiler on PATH, Go would use it for the names of hosts and users
    )
    for name in NAMES:
        link(name, built)
    if _answers() != VERSION:
        raise UnavailableError(f"the kube-apiserver just put at {BIN} does not answer as {VERSION}")
    stamp("controlplane", _pins())


def _definitions() -> None:
    """Put the definitions of custom resources into `.tools/crds`, one a file."""
    folders = go.fetch(_CRDS_MODULE, _ISTIO, _GATEWAY)
    fresh = empty(TOOLS / "crds.new")
    for plural in _GATEWAY_PLURALS:
        name = f"gateway.networking.k8s.io_{plural}.yaml"
        shutil.copyfile(folders[_GATEWAY] / "config" / "crd" / "standard" / name, fresh / name)
    everything = folders[_ISTIO] / "kubernetes" / "customresourcedefinitions.gen.yaml"
    documents = re.split(r"^---\n", everything.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for plural in _ISTIO_PLURALS:
        # The name of the resource itself: indented by two, unlike any `name` inside its schema.
        (document,) = [text for text in documents if f"\n  name: {plural}.networking.istio.io\n" in text]
        (fresh / f"networking.istio.io_{plural}.yaml").write_text(document, encoding="utf-8")
    shutil.rmtree(CRDS, ignore_errors=True)
    fresh.rename(CRDS)


CONTROLPLANE = Part(
    "controlplane",
    "a Kubernetes control plane without containers, for tests and the demo",
    _version,
    _obtain,
)
