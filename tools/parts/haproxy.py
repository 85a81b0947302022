"""HAProxy: the machine's own, else Debian's package unpacked, with the libraries that it needs.

Unpacked libraries are found through a small starter at `.tools/bin/haproxy`, as the browser's are.
"""

import re
from pathlib import Path

from tools.parts import debian
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, link, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask

_OLDEST = (2, 4)  # the first that replaces a map as a whole (`prepare map`, `commit map`)
_FOLDER = TOOLS / "haproxy"


def _pins() -> str:
    return digest(str(ROOT), Path(__file__), Path(debian.__file__))


def _answers(program: str | Path) -> str | None:
    """Return the version, when it is recent enough."""
    found = re.search(r"version (\d+)\.(\d+)[.\d]*", ask(program, "-v"))
    return found.group(0).split()[1] if found and (int(found[1]), int(found[2])) >= _OLDEST else None


def _version() -> str | None:
    return _answers(BIN / "haproxy") if stamped("haproxy", _pins()) else None


def _obtain() -> None:
    machine = on_path("haproxy", "/usr/sbin/haproxy")
    if machine and _answers(machine):
        link("haproxy", Path(machine))
    else:
        try:
            debian.unpack(["haproxy"], _FOLDER, with_dependencies=True)
        except UnavailableError as error:
            raise UnavailableError(f"{error}\n  Install HAProxy 2.4 or newer, so that `haproxy` is on PATH.") from error
        debian.write_starter("haproxy", _FOLDER, _FOLDER / "usr" / "sbin" / "haproxy")
    stamp("haproxy", _pins())


HAPROXY = Part("haproxy", "a proxy whose weights are changed at run time, without a reload", _version, _obtain)
