"""`python3 tools/setup.py`: which parts, in which order, and what is said about each."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence

from tools.parts.chromium import CHROMIUM
from tools.parts.controlplane import CONTROLPLANE
from tools.parts.environment import PYTHON_PART
from tools.parts.envoy import ENVOY
from tools.parts.haproxy import HAPROXY
from tools.parts.ldrelay import LDRELAY
from tools.parts.nginx import NGINX
from tools.parts.part import Part
from tools.parts.places import alone
from tools.parts.postgresql import POSTGRESQL
from tools.parts.prometheus import PROMETHEUS
from tools.parts.running import UnavailableError
from tools.parts.temporal import TEMPORAL
from tools.parts.unleash import UNLEASH

# In the order in which they are had: what others need first, what takes long last.
_PARTS = {
    part.name: part
    for part in (
        PYTHON_PART,
        ENVOY,
        HAPROXY,
        NGINX,
        PROMETHEUS,
        CHROMIUM,
        POSTGRESQL,
        UNLEASH,
        LDRELAY,
        TEMPORAL,
        CONTROLPLANE,
    )
}


def run(arguments: Sequence[str]) -> int:
    """Put parts in place, or list them.

    Args:
        arguments: The command line, without the program.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="tools/setup.py", description="Put what the project runs on into place.")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", choices=_PARTS, help=f"one or more of: {', '.join(_PARTS)}"
    )
    parser.add_argument("--list", action="store_true", help="say what is in place and change nothing")
    options = parser.parse_args(arguments)
    # Ending us politely ends the compilers that we started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if options.list:
            return _list()
        return _put(_with_needs(options.only or list(_PARTS)))
    except KeyboardInterrupt:
        print("\nset-up interrupted; what is done is kept, run it again to go on")
        return 130


def _list() -> int:
    for part in _PARTS.values():
        print(f"{part.name:<13}{part.version() or 'not in place':<14}{part.what}{' (optional)' * part.optional}")
    return 0


def _with_needs(names: Sequence[str]) -> list[Part]:
    wanted = set(names) | {need for name in names for need in _PARTS[name].needs}
    return [part for part in _PARTS.values() if part.name in wanted]


def _put(parts: Sequence[Part]) -> int:
    missing = [part.name for part in parts if not _put_one(part)]
    if missing:
        print(f"set-up is not complete: no {', '.join(missing)}")
    return 1 if missing else 0


def _put_one(part: Part) -> bool:
    """Put one part in place.

    Returns:
        Whether the project can go on: the part is there, or it is optional here.
    """
    with alone(part.name):
        version = part.version()
        if version:
            print(f"{part.name:<13}{version}", flush=True)
            return True
        print(f"{part.name:<13}… {part.what}", flush=True)
        began = time.monotonic()
        reason = ""
        try:
            part.obtain()
        except UnavailableError as error:
            reason = str(error)
        version = None if reason else part.version()
        if version is None:
            optional = part.optional and not os.environ.get("CI")
            print(f"{part.name:<13}cannot be had{', and is optional: what needs it is skipped' * optional}")
            print(f"  {reason or 'it was put in place but does not answer with its version'}", flush=True)
            return optional
        print(f"{part.name:<13}{version} ({time.monotonic() - began:.0f} s)", flush=True)
        return True
