"""Put everything the project runs on into this checkout: `python3 tools/setup.py`.

Standard library only, because it runs before anything is installed. Python packages go to `.venv/`, the
real parts (Temporal, Prometheus, Envoy, a browser) to `.tools/`; nothing is installed on the machine.
A part that is in place is recognised by its stamp and by asking it for its version, so a second run
takes a moment. The parts themselves are in `tools/parts/`, one file each.
"""

import sys
from pathlib import Path


def main() -> int:
    """Check the interpreter, then hand over to the parts.

    Returns:
        The exit code: 0 when every required part is in place, 1 when one is not, 2 for a wrong command line
        or Python, 130 after Ctrl-C.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - the bare `python3` of a machine may be anything
        print("Sluice needs Python 3.11 or newer, and this one is older. Run: python3.11 tools/setup.py")
        return 2
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root))
    from tools.parts.command import run  # noqa: PLC0415 - not before the version is known to fit

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
