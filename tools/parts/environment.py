"""The Python packages, in `.venv/`, exactly as the lock file has them.

Every file is checked against its hash, the lock is complete (so pip resolves nothing), and the build
backend of the project itself is in it too (so building it asks no index).
"""

import sys
from pathlib import Path

from tools.parts.part import Part
from tools.parts.places import PYTHON, ROOT, VENV, digest, stamp, stamped
from tools.parts.running import UnavailableError, ask, run

_LOCK = ROOT / "requirements.lock"
_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def _pins() -> str:
    # The checkout's place counts: scripts in a virtual environment carry it, and do not survive a move.
    return digest(_LOCK, ROOT / "pyproject.toml", str(ROOT), _MINOR)


def _version() -> str | None:
    if not stamped("python", _pins()):
        return None
    return ask(PYTHON, "--version").removeprefix("Python").strip() or None


def _obtain() -> None:
    if not ask(PYTHON, "--version").startswith(f"Python {_MINOR}."):
        try:
            run([sys.executable, "-m", "venv", "--clear", VENV], "creating .venv")
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}\n  On Debian and Ubuntu, `apt-get install python3-venv` brings what is missing."
            ) from error
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--require-hashes", "--requirement", _LOCK], "installing the locked Python packages")
    run([*pip, "--no-build-isolation", "--editable", ROOT], "installing sluice itself")
    stamp("python", _pins())


PYTHON_PART = Part("python", "the packages of requirements.lock and Sluice itself", _version, _obtain)
