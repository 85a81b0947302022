"""Debian packages, unpacked into a folder instead of installed: no root, nothing changed on the machine.

Maintainer scripts do not run, so this is for programs that need none. The version is the distribution's;
apt checks its signature.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.parts.places import BIN, empty, on_path
from tools.parts.running import UnavailableError, ask, run


def unpack(packages: Sequence[str], folder: Path, *, with_dependencies: bool = False) -> None:
    """Download packages and unpack them.

    Args:
        packages: Their names.
        folder: Where they are unpacked; made anew.
        with_dependencies: Whether to include what they need and the machine has not installed.

    Raises:
        UnavailableError: This is no Debian, or the packages cannot be downloaded.
    """
    if on_path("apt-get") is None or on_path("dpkg-deb") is None:
        raise UnavailableError("no apt-get here")
    _refresh(packages)
    if with_dependencies:
        # One line a package that would be installed: "Inst chromium (120.0 Debian:12/stable [amd64]) [...]".
        plan = ask("apt-get", "--simulate", "install", "--no-install-recommends", *packages)
        packages = sorted(set(packages) | set(re.findall(r"^Inst (\S+)", plan, re.MULTILINE)))
    empty(folder)
    archives = empty(folder.with_name(f"{folder.name}-archives"))
    run(["apt-get", "download", *packages], f"downloading {packages[0]} from Debian", cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg-deb", "--extract", archive, folder], f"unpacking {packages[0]}")
    empty(archives).rmdir()


def libraries(folder: Path) -> str:
    """Where the libraries of unpacked packages are: a value for LD_LIBRARY_PATH."""
    # They sit in the architecture's folder and, for a few, in one more below it.
    found = {file.parent for root in ("usr/lib", "lib") for file in (folder / root).rglob("*.so*")}
    return ":".join(sorted(map(str, found)))


def write_starter(name: str, folder: Path, program: Path) -> None:
    """Make `.tools/bin/NAME` start an unpacked program with the libraries beside it."""
    BIN.mkdir(parents=True, exist_ok=True)
    starter = BIN / name
    starter.unlink(missing_ok=True)
    starter.write_text(
        f'#!/bin/sh\nexport LD_LIBRARY_PATH={shlex.quote(libraries(folder))}\nexec {shlex.quote(str(program))} "$@"\n'
    )
    starter.chmod(0o755)


def _refresh(packages: Sequence[str]) -> None:
    """Update the package lists when they do not know the packages, and we may."""
    if _known(packages):
        return
    if os.geteuid() == 0:
        run(["apt-get", "update"], "updating the package lists")
    if not _known(packages):
        raise UnavailableError(f"apt knows no {' or '.join(packages)}; `apt-get update` as root may change that")


def _known(packages: Sequence[str]) -> bool:
    candidates = re.findall(r"^ +Candidate: (.*)$", _policy(packages), re.MULTILINE)
    return len(candidates) == len(packages) and "(none)" not in candidates


def _policy(packages: Sequence[str]) -> str:
    # In English, whatever the machine speaks.
    command = ["apt-cache", "policy", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return done.stdout
