"""One supervised child process, and waiting for what it does.

Why: the demo, the tests and the benchmarks start real servers and kill them in the middle of things. Every child must
be ended by its own process id, must never outlive the process that started it (however that one dies), and must not see
the terminal's Ctrl-C before the parent has decided what to do about it.

Rejected: `preexec_fn` (see `leash`), and asyncio's subprocesses, which tie a child to one event loop although fixtures
outlive loops.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

LOOPBACK = "127.0.0.1"
POLL_S = 0.02
TAIL_LINES = 20

_LEASH = Path(__file__).with_name("leash.py")

# The parent-death signal is sent when the *thread* that forked ends, so a child started from a short-lived thread would
# die with it. All children are therefore started by this one thread, which lives as long as the process.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="testbed-spawner")

_PORTS_GIVEN: set[int] = set()


class PartFailed(RuntimeError):
    """A part did not do what was awaited; the message carries the end of its log."""


class Child:
    """A child process in a session of its own, killed by the kernel when this process ends.

    Attributes:
        argv: What was started.
        log: Where its standard output and error are appended.
    """

    def __init__(self, process: subprocess.Popen[bytes], argv: Sequence[str], log: Path, log_start_bytes: int) -> None:
        self.argv = tuple(argv)
        self.log = log
        self._process = process
        self._log_start_bytes = log_start_bytes

    @classmethod
    def start(
        cls,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Self:
        """Start a program without waiting for it to be ready.

        Args:
            argv: Program and arguments; no shell is involved.
            log: File that standard output and error are appended to.
            env: Added to this process's environment; a value of None removes the variable.
            cwd: Working directory; this process's own by default.

        Returns:
            The running child.

        Raises:
            OSError: When the log cannot be opened.
        """
        words = [str(word) for word in argv]
        environment = dict(os.environ)
        for name, value in (env or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            start_bytes = sink.tell()

            def spawn() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=cwd,
                    start_new_session=True,
                )

            return cls(_SPAWNER.submit(spawn).result(), words, log, start_bytes)

    @property
    def pid(self) -> int:
        """Process id, also of a child that has ended."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code, minus the signal's number when a signal ended it, None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """What this child has written so far, without what earlier children wrote to the same log."""
        with self.log.open("rb") as source:
            source.seek(self._log_start_bytes)
            return source.read().decode(errors="replace")

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone; a child that has ended is left alone."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to end with SIGTERM, then insist with SIGKILL.

        Args:
            timeout_s: Seconds it may take before SIGKILL.

        Returns:
            The exit code, minus the signal's number when a signal ended it.
        """
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)  # a paused process keeps SIGTERM pending for ever
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def pause(self) -> None:
        """Freeze it with SIGSTOP: it keeps its ports and connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on with SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _complaint(what: str, within_s: float, child: Child | None) -> PartFailed:
    sentence = f"Waited {within_s:g} s in vain: {what}."
    if child is None:
        return PartFailed(sentence)
    if not child.running:
        sentence = f"{Path(child.argv[0]).name} ended with exit code {child.exit_code} while waiting: {what}."
    tail = "\n".join(child.output().splitlines()[-TAIL_LINES:]) or "(nothing)"
    return PartFailed(f"{sentence} The end of {child.log}:\n{tail}")


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str, child: Child | None = None) -> None:
    """Poll a condition until it holds.

    Args:
        condition: Asked every 20 ms; it must not raise for "not yet".
        within_s: Seconds to wait at most.
        what: What is awaited, as it should be read in the error ("envoy is ready").
        child: The process concerned; its death ends the wait, and the error ends with its log.

    Raises:
        PartFailed: When the time is over or the child has ended.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() >= deadline or (child is not None and not child.running):
            raise _complaint(what, within_s, child)
        time.sleep(POLL_S)


async def wait_until_async(
    condition: Callable[[], bool | Awaitable[bool]], *, within_s: float, what: str, child: Child | None = None
) -> None:
    """Poll a condition, plain or awaitable, until it holds, without blocking the event loop.

    Args:
        condition: Asked every 20 ms; it must not raise for "not yet".
        within_s: Seconds to wait at most, checked between two calls of the condition.
        what: What is awaited, as it should be read in the error.
        child: The process concerned; its death ends the wait, and the error ends with its log.

    Raises:
        PartFailed: When the time is over or the child has ended.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() >= deadline or (child is not None and not child.running):
            raise _complaint(what, within_s, child)
        await asyncio.sleep(POLL_S)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, never the same twice in one process.

    They lie below the range from which the kernel takes the ports of outgoing connections. Otherwise a load generator's
    own connection could sit on the port of a part that is being restarted.

    Args:
        count: How many.

    Returns:
        That many different ports.

    Raises:
        PartFailed: When no free ones were found.
    """
    candidates = random.SystemRandom().sample(range(15_000, 29_000), k=2_000)
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        if port not in _PORTS_GIVEN:
            _PORTS_GIVEN.add(port)
            ports.append(port)
    if len(ports) < count:
        raise PartFailed(f"Found only {len(ports)} of {count} free ports between 15000 and 29000 on {LOOPBACK}.")
    return ports
