"""A part that can be stopped, killed, frozen and started again as the same part.

Why: a rollout must survive the death of everything around it, so a test kills a server and brings *the same one* back:
same ports, same files. `Child` is one process; a `Part` is what stays when the process is replaced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import httpx

from testbed.processes import Child, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType


class Part(ABC):
    """One real part. Use it as a context manager, or call `start` and `stop`.

    Attributes:
        name: Name of the part, also of its log file.
        directory: Where its configuration, data and log live; made when missing.
        log: Its log, kept over restarts.
    """

    ready_within_s: ClassVar[float] = 20.0
    stops_within_s: ClassVar[float] = 10.0

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / f"{name}.log"
        self._child: Child | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Program and arguments."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it does its work now; asked again and again, so cheap and without exceptions."""

    def environment(self) -> Mapping[str, str | None]:
        """Variables to add to the environment, None to remove one; none by default."""
        return {}

    def prepare(self) -> None:  # noqa: B027 - a hook, not a duty
        """Write what it needs before a start; nothing by default."""

    def settle(self) -> None:  # noqa: B027 - a hook, not a duty
        """Do what is left once it is ready; nothing by default."""

    @property
    def child(self) -> Child:
        """The process of the last start.

        Raises:
            RuntimeError: Before the first start.
        """
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started; call start() or use it in a `with` block.")
        return self._child

    @property
    def running(self) -> bool:
        """Whether its process exists; a paused one does."""
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        return self.child.pid

    def launch(self) -> Self:
        """Start it without waiting until it is ready.

        Returns:
            Itself.

        Raises:
            RuntimeError: When it is running already.
        """
        if self.running:
            raise RuntimeError(f"{self.name} is running already with process id {self.pid}.")
        self.prepare()
        self._child = Child.start(self.command(), log=self.log, env=self.environment(), cwd=self.directory)
        return self

    def await_ready(self) -> Self:
        """Wait until it does its work.

        Returns:
            Itself.

        Raises:
            PartFailed: When it is not ready in time or has ended; its log is in the message.
        """
        wait_until(self.ready, within_s=self.ready_within_s, what=f"{self.name} is ready", child=self.child)
        self.settle()
        return self

    def start(self) -> Self:
        """Start it and wait until it does its work; on failure nothing is left running.

        Returns:
            Itself.
        """
        self.launch()
        try:
            return self.await_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order (SIGTERM, SIGKILL when it takes too long); a part that is not running is left alone."""
        if self._child is not None:
            self._child.stop(self.stops_within_s)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> Self:
        """Stop it if it runs, then start it on the same ports and files.

        Returns:
            Itself.
        """
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self.child.pause()

    def resume(self) -> None:
        """Let a frozen part go on."""
        self.child.resume()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


# One for all: building a client costs more than asking. Nothing is kept open, so a part that was killed is noticed.
_CLIENT = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a GET of a loopback address is answered with 200.

    Args:
        url: Address to ask.
        timeout_s: Seconds to wait for connecting and for each read.

    Returns:
        False also when nobody listens or nothing comes in time.
    """
    try:
        return _CLIENT.get(url, timeout=timeout_s).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
