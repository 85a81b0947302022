"""Unleash, the flag service, from npm: exactly the packages of `tools/unleash/package-lock.json`.

The lock names no registry, so npm takes the packages from whichever one the machine uses, and checks each against its
hash. No package's install script runs: nothing in there needs one. Unleash asks for Node.js 22; what is asked of it
here works with 20 as well. It is run, never shipped: its licence is AGPL.
"""

import re
import shlex
import shutil
from pathlib import Path

from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, empty, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask, run

VERSION = "8.2.0"
_OLDEST_NODE = 20
_FOLDER = TOOLS / "unleash"
_SERVER = _FOLDER / "node_modules" / "unleash-server"
_WANTED = [ROOT / "tools" / "unleash" / name for name in ("package.json", "package-lock.json")]


def _pins() -> str:
    return digest(str(ROOT), Path(__file__), *_WANTED)


def _version() -> str | None:
    """Return its version; the server itself only tells it once it has a database."""
    in_place = stamped("unleash", _pins()) and (_SERVER / "dist" / "server.js").exists()
    return VERSION if in_place and ask(BIN / "unleash", "--check") == VERSION else None


def _node() -> str:
    """The machine's Node.js.

    Raises:
        UnavailableError: There is none, it is too old, or it has no npm.
    """
    node, npm = on_path("node", "nodejs"), on_path("npm")
    found = re.match(r"v(\d+)\.", ask(node, "--version")) if node else None
    if node is None or npm is None or not found or int(found[1]) < _OLDEST_NODE:
        has = f"Node.js {found[1]} is here" if found else "no Node.js is here"
        raise UnavailableError(
            f"{has}{'' if npm else ', and no npm'}; install Node.js {_OLDEST_NODE} or newer with npm, so that `node` "
            "and `npm` are on PATH."
        )
    return node


def _obtain() -> None:
    node = _node()
    empty(_FOLDER)
    for file in _WANTED:
        shutil.copyfile(file, _FOLDER / file.name)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    run(["npm", "ci", "--omit=dev", *quiet], "installing Unleash from npm", cwd=_FOLDER)
    _write_starter(node)
    stamp("unleash", _pins())


def _write_starter(node: str) -> None:
    """Make `.tools/bin/unleash` start the server; it is told by environment variables what to do."""
    BIN.mkdir(parents=True, exist_ok=True)
    starter = BIN / "unleash"
    starter.unlink(missing_ok=True)
    version = f"process.stdout.write(require({str(_SERVER / 'package.json')!r}).version)"
    starter.write_text(
        f'#!/bin/sh\nif [ "$1" = --check ]; then exec {shlex.quote(node)} -e {shlex.quote(version)}; fi\n'
        f"exec {shlex.quote(node)} {shlex.quote(str(_SERVER / 'dist' / 'server.js'))}\n"
    )
    starter.chmod(0o755)


UNLEASH = Part(
    "unleash",
    "the real flag service for the tests, with Node.js",
    _version,
    _obtain,
    needs=("postgresql",),
    optional=True,
)
