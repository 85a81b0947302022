"""Typing a command: in this process, which is quick, or as a process of its own, which is what people do."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from starter.cli import run
from testbed.temporal import no_profile

WITHIN_S = 60.0


@dataclass(frozen=True)
class Typed:
    """What came of a command."""

    code: int
    out: str
    err: str


def typed(*words: str | Path, stdin: str | bytes = "", env: dict[str, str | None] | None = None) -> Typed:
    """Run a command here, through the same entrance as the console script."""
    with CliRunner().isolation(input=stdin, env={"FORCE_COLOR": None, **(env or {})}) as (out, err, _):
        code = run([str(word) for word in words])
        sys.stdout.flush()
        sys.stderr.flush()
        return Typed(code, out.getvalue().decode(), err.getvalue().decode())


def environment(address: str, **more: str) -> dict[str, str]:
    """The environment of a command that shall reach this server and nothing of the user's own."""
    mine = {**os.environ, **no_profile(), "TEMPORAL_ADDRESS": address, **more}
    return {name: value for name, value in mine.items() if value is not None}


def launched(*words: str | Path, env: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a command as a process; its output is read with `finished`."""
    return subprocess.Popen(
        [sys.executable, "-m", "starter", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def finished(process: "subprocess.Popen[str]") -> Typed:
    """Wait for a started command."""
    with process:
        try:
            out, err = process.communicate(timeout=WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Typed(process.returncode, out, err)
