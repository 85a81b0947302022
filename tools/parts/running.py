"""Running other people's programs: with signs of life, a log, and nothing left behind.

Compilers are silent for minutes, so a line says every 15 seconds that they are still at it (a second on a
terminal, on one line). Each program gets a process group of its own, which is ended when we are.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tools.parts.places import TOOLS

_TAIL = 15  # lines of a failed command's output that are worth showing


class UnavailableError(Exception):
    """A part cannot be had this way. The message says why, and what to do about it."""


def run(
    command: Sequence[str | Path],
    doing: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        doing: What the person at the terminal is waiting for, as in "compiling temporal". Also names the log.
        cwd: The folder to run in.
        env: Added to the environment.

    Raises:
        UnavailableError: The command is not there or failed; with the end of its output.
    """
    log = TOOLS / "logs" / (doing.replace(" ", "-").replace("/", "-") + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+") as output:
        process = _start(command, output, cwd, env)
        try:
            _watch(process, doing)
        finally:
            _end(process)
        if process.returncode != 0:
            output.seek(0)
            tail = "".join(f"    {line}" for line in output.readlines()[-_TAIL:])
            raise UnavailableError(f"{doing} failed (exit {process.returncode}):\n{tail.rstrip()}")


def ask(*command: str | Path, seconds: float = 20) -> str:
    """Return what a quick command prints, both streams together, or nothing if it cannot run or fails.

    Args:
        command: The program and its arguments.
        seconds: How long it may take.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _start(
    command: Sequence[str | Path], output: IO[str], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be run: {error.strerror}") from error


def _watch(process: subprocess.Popen[bytes], doing: str) -> None:
    """Wait for the process, printing how long it has been."""
    live = sys.stdout.isatty()
    began = time.monotonic()
    while True:
        try:
            process.wait(1 if live else 15)
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - began
            print(f"  … {doing}, {passed:.0f} s", end="\r" if live else "\n", flush=True)
            continue
        if live:
            print("\033[K", end="", flush=True)  # the line is over: leave no half of it
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, politely first. After a normal end there is nothing left to do."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
