"""Write requirements.lock from pyproject.toml, or check that it still follows from it.

Standard library only. The resolver (uv) lives in a throw-away environment: it is needed by whoever changes a
dependency, not by whoever installs. The lock names no index, so it works with whichever one a machine uses.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_LOCK = _ROOT / "requirements.lock"
_UV = "uv==0.13.9"
_HEADER = """\
# Every Python package that Sluice, its test bed and its checks use: one version each, with the
# hashes of its published files. Holds for every platform and for Python 3.11 and newer.
# Written by `make lock` from pyproject.toml; not edited by hand.

"""


def main() -> int:
    """Lock or check.

    Returns:
        The exit code: 1 when `--check` finds that the lock does not follow from pyproject.toml.
    """
    parser = argparse.ArgumentParser(description="Write requirements.lock from pyproject.toml.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the lock would change")
    parser.add_argument("--upgrade", action="store_true", help="take newer versions, not only what must change")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-lock-") as folder:
        lock = _resolve(Path(folder), upgrade=options.upgrade)
    if not options.check:
        _LOCK.write_text(lock)
        return 0
    # Files are published late for versions long out, so hashes may be added without anything being wrong.
    if _versions(lock) == _versions(_LOCK.read_text()):
        print("requirements.lock follows from pyproject.toml")
        return 0
    print("requirements.lock does not follow from pyproject.toml any more; run `make lock` and commit the result")
    return 1


def _resolve(folder: Path, *, upgrade: bool) -> str:
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ]
    subprocess.run([*install, _UV], check=True)
    # The versions that are locked now are kept where they still fit: uv reads them from its output file.
    lock = folder / "requirements.lock"
    if _LOCK.exists():
        shutil.copy(_LOCK, lock)
    command: list[str | Path] = [
        python.with_name("uv"),
        "pip",
        "compile",
        "pyproject.toml",
        "--quiet",
        "--no-header",
        "--all-extras",
    ]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--output-file", lock]
    subprocess.run([*command, *["--upgrade"] * upgrade], cwd=_ROOT, check=True)
    return _HEADER + lock.read_text()


def _versions(lock: str) -> list[str]:
    return [line.rstrip(" \\") for line in lock.splitlines() if line and line[0] not in " #"]


if __name__ == "__main__":
    sys.exit(main())
