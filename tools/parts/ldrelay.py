"""LaunchDarkly's Relay Proxy, compiled from its published Go module.

Optional: only a test of the stand-in for LaunchDarkly uses it, to show that Sluice proves a flag through it as well.
"""

from tools.parts import go
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, link, stamp, stamped
from tools.parts.running import UnavailableError, ask

VERSION = "8.10.0"
_MODULE = ROOT / "tools" / "ldrelay"
_PACKAGE = "github.com/launchdarkly/ld-relay/v8"


def _pins() -> str:
    return digest(VERSION, _MODULE / "go.mod", _MODULE / "go.sum")


def _version() -> str | None:
    there = stamped("ldrelay", _pins()) and VERSION in ask(BIN / "ld-relay", "--version")
    return VERSION if there else None


def _obtain() -> None:
    print("  compiling LaunchDarkly's relay from its Go module: 2 minutes on 2 cores the first time, seconds later")
    built = TOOLS / "ldrelay" / "ld-relay"
    go.build(_MODULE, _PACKAGE, built)
    link("ld-relay", built)
    if VERSION not in ask(BIN / "ld-relay", "--version"):
        raise UnavailableError(f"the ld-relay just put at {BIN / 'ld-relay'} does not answer as {VERSION}")
    stamp("ldrelay", _pins())


LDRELAY = Part("ldrelay", "LaunchDarkly's relay, between its stand-in and its SDK", _version, _obtain, optional=True)
