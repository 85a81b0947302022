"""Where things go in this checkout, the stamps that say what is there, and the locks that keep two runs apart.

Refuses to look outside the checkout: caches of pip and Go stay where these tools keep them, so that a
second checkout on the same machine is quick.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"


def digest(*what: str | Path) -> str:
    """Hash texts and the contents of files, in order.

    Args:
        what: A text as it is, or the path of a file to read.

    Returns:
        16 hexadecimal digits.
    """
    total = hashlib.sha256()
    for item in what:
        total.update(item.read_bytes() if isinstance(item, Path) else item.encode())
        total.update(b"\0")
    return total.hexdigest()[:16]


def stamped(name: str, pins: str) -> bool:
    """Say whether the part was made from exactly these pins."""
    try:
        return (TOOLS / "stamps" / name).read_text() == pins
    except FileNotFoundError:
        return False


def stamp(name: str, pins: str) -> None:
    """Remember that the part was made from these pins. Written last: an interrupted run leaves no stamp."""
    path = TOOLS / "stamps" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pins)


def link(name: str, target: str | Path) -> None:
    """Make `.tools/bin/NAME` lead to a program, replacing what was there."""
    BIN.mkdir(parents=True, exist_ok=True)
    place = BIN / name
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def on_path(*names: str) -> str | None:
    """Find the first of these programs on PATH, our own places excluded."""
    ours = {BIN.resolve(), (VENV / "bin").resolve()}
    path = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder).resolve() not in ours)
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def empty(folder: Path) -> Path:
    """Return the folder, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the lock of a part, so that two runs in one checkout do not build it into each other's way.

    The kernel frees the lock when the process ends, however it ends.
    """
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: another set-up of this checkout is at it; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
