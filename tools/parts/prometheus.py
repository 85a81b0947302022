"""Prometheus and promtool: the machine's own, else Debian's package unpacked, else its Go module compiled.

Any version from 2.40 on answers the queries that the product asks, so what the machine has is good enough.
"""

import re
from pathlib import Path

from tools.parts import debian, go
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, link, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask

_OLDEST = (2, 40)
VERSION = "3.15.0"  # of the Go module, which publishes it as v0.315.0
_PROGRAMS = ("prometheus", "promtool")
_MODULE = ROOT / "tools" / "prometheus"
_PACKAGE = "github.com/prometheus/prometheus"


def _pins() -> str:
    return digest(str(_OLDEST), _MODULE / "go.mod", _MODULE / "go.sum")


def _answers(program: str | Path) -> str | None:
    """Return the version, when it is recent enough."""
    found = re.search(r"version v?(\d+)\.(\d+)\S*", ask(program, "--version"))
    return found.group(0).split()[1] if found and (int(found[1]), int(found[2])) >= _OLDEST else None


def _version() -> str | None:
    versions = [_answers(BIN / program) for program in _PROGRAMS] if stamped("prometheus", _pins()) else [None]
    return versions[0] if all(versions) else None


def _obtain() -> None:
    for way in (_from_path, _from_debian, _from_go):
        try:
            way()
        except UnavailableError as error:
            print(f"  {error}")
            continue
        if all(_answers(BIN / program) for program in _PROGRAMS):
            stamp("prometheus", _pins())
            return
    raise UnavailableError("install Prometheus 2.40 or newer with its promtool, so that both are on PATH.")


def _from_path() -> None:
    found = [on_path(program) for program in _PROGRAMS]
    for program, place in zip(_PROGRAMS, found, strict=True):
        if place is None or not _answers(place):
            raise UnavailableError(f"no {program} on PATH that is recent enough")
        link(program, place)


def _from_debian() -> None:
    folder = TOOLS / "prometheus"
    debian.unpack(["prometheus"], folder)
    for program in _PROGRAMS:
        link(program, folder / "usr" / "bin" / program)


def _from_go() -> None:
    print("  compiling Prometheus from its Go module: 2 to 7 minutes on 2 cores the first time, seconds later")
    folder = TOOLS / "prometheus-built"
    for program in _PROGRAMS:
        go.build(
            _MODULE,
            f"{_PACKAGE}/cmd/{program}",
            folder / program,
            # Service discovery of every cloud is most of its size, and the test bed names its targets.
            flags=["-tags", "remove_all_sd"],
            link_flags=f"-X github.com/prometheus/common/version.Version={VERSION}",
        )
        link(program, folder / program)


PROMETHEUS = Part("prometheus", "the metric server that verdicts are drawn from, and promtool", _version, _obtain)
