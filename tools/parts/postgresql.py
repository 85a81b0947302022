"""PostgreSQL, in which the real Unleash keeps its flags: the machine's own, else Debian's package unpacked.

Only two of its programs are used: `initdb` makes a data folder, `postgres` serves it. Both find their files relative to
where they are, so they run from anywhere. Neither runs as root; what to do about that is the test bed's business.
"""

import re
from pathlib import Path

from tools.parts import debian
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, link, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask

_OLDEST = 13  # what Unleash 8 asks for
_FOLDER = TOOLS / "postgresql"
_PACKAGE = "postgresql"  # brings the version that the distribution has
_PROGRAMS = ("postgres", "initdb")
_DEBIAN = Path("/usr/lib/postgresql")  # no server of Debian's is on PATH


def _pins() -> str:
    return digest(str(ROOT), Path(__file__), Path(debian.__file__))


def _answers(program: str | Path) -> str | None:
    """Return the version, when it is recent enough."""
    found = re.search(r"\(PostgreSQL\) (\d+)[.\d]*", ask(program, "--version"))
    return found.group(0).split()[1] if found and int(found[1]) >= _OLDEST else None


def _version() -> str | None:
    whole = stamped("postgresql", _pins()) and all(_answers(BIN / name) for name in _PROGRAMS)
    return _answers(BIN / "postgres") if whole else None


def _machines() -> Path | None:
    """The folder with the machine's own programs, the newest where there are several."""
    known = on_path("postgres")
    folders = [Path(known).resolve().parent] if known else []
    folders += sorted(_DEBIAN.glob("*/bin"), key=lambda each: each.parent.name, reverse=True)
    return next((each for each in folders if all(_answers(each / name) for name in _PROGRAMS)), None)


def _obtain() -> None:
    if machine := _machines():
        for name in _PROGRAMS:
            link(name, machine / name)  # they follow it to where their files are
    else:
        try:
            debian.unpack([_PACKAGE], _FOLDER, with_dependencies=True)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}\n  Install the server of PostgreSQL {_OLDEST} or newer, so that `postgres` is on PATH."
            ) from error
        (programs,) = _FOLDER.glob("usr/lib/postgresql/*/bin")
        for name in _PROGRAMS:
            debian.write_starter(name, _FOLDER, programs / name)
    stamp("postgresql", _pins())


POSTGRESQL = Part("postgresql", "the database of Unleash, for the tests", _version, _obtain, optional=True)
