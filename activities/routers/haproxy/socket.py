"""HAProxy's runtime socket: ask, and know what the answer means.

Commands that belong together go in one line, separated by semicolons: HAProxy carries them out one after the other and
answers each with text that ends with an empty line. There is no status: success is an empty answer, and every failure
is an English sentence. A library for this was rejected: it would hide exactly these sentences.
"""

import asyncio
import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NewType

from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable

_NO_SERVER, _NO_BACKEND = "No such server.", "No such backend."
_UNKNOWN_BACKEND, _UNKNOWN_PROXY = "Can't find backend.", "No such proxy."
_ENDS_A_WORD = re.compile(r"[\s;\\]|<<")
_ENDS_A_COMMAND = re.compile(r"[^\S ]|[;\\]|<<")
_LIMIT_BYTES = 64 * 1024 * 1024  # of one answer; `show map` of a map that is ours has ten lines

Command = NewType("Command", str)
"""Words that HAProxy takes for one command and for no more; made by `command`."""


def command(*words: str) -> Command:
    """One command of these words, each of which stays one: names come from a spec, and the socket may do everything.

    Raises:
        Misconfigured: HAProxy would take a word for two, or for another command.
    """
    for word in words:
        if not word.isprintable() or _ENDS_A_WORD.search(word) or not word:
            raise Misconfigured(
                f"HAProxy's commands cannot name {word!r}: choose a name without blanks, semicolons, backslashes and <<"
            )
    return Command(" ".join(words))


class HaproxySocket:
    """A socket of one HAProxy, opened anew for every line of commands, as HAProxy closes it after each."""

    def __init__(self, address: str, timeout_s: float, where: str) -> None:
        """Take the address.

        Args:
            address: path of a Unix socket, or `host:port`.
            timeout_s: for connecting and the whole answer, seconds.
            where: the route, for messages.
        """
        self._address, self._timeout_s, self._where = address, timeout_s, where

    def __str__(self) -> str:
        """The address."""
        return self._address

    async def ask(self, *commands: Command, payload: str = "") -> list[str]:
        r"""Send commands as one line.

        Args:
            commands: made by `command`.
            payload: lines for the last command, each ending with `\n`; none of them empty.

        Returns:
            One answer a command, without the empty line at its end.

        Raises:
            RouterUnreachable: nobody answers, not in time, or not every command.
            NotPermitted: the socket may not be opened, or has too low a level.
            Misconfigured: a command is more than one; nothing was sent.
        """
        for each in commands:
            if not each.isprintable() or _ENDS_A_COMMAND.search(each):
                raise Misconfigured(f"{self._where}: {each!r} is more than one command of HAProxy; nothing was sent")
        line = "; ".join(commands) + (f" <<\n{payload}" if payload else "")
        try:
            async with asyncio.timeout(self._timeout_s):
                text = await self._exchange(f"{line}\n".encode())
        except PermissionError as error:
            msg = (
                f"{self._where}: this worker may not open HAProxy's socket {self}: {error.strerror}; see its user, mode"
            )
            raise NotPermitted(f"{msg} and group in haproxy.cfg") from error
        except TimeoutError as error:
            msg = f"{self._where}: no answer from HAProxy's socket {self} within {self._timeout_s:g} s"
            raise RouterUnreachable(msg) from error
        except (OSError, ValueError) as error:
            msg = f"{self._where}: no answer from HAProxy's socket {self}: {error!r}"
            raise RouterUnreachable(msg) from error
        answers = list(replies(text))
        self._refuse_forbidden(commands, answers)
        if len(answers) != len(commands):
            msg = f"{self._where}: HAProxy's socket {self} gave {len(answers)} answers to {len(commands)} commands"
            raise RouterUnreachable(f"{msg}; the last one: {answers[-1:]}")
        return answers

    async def do(self, *commands: Command, payload: str = "") -> None:
        """Send commands that answer nothing if they succeed.

        Raises:
            Misconfigured: HAProxy refused one; in its words.
            RouterUnreachable: as for `ask`.
            NotPermitted: as for `ask`.
        """
        answers = await self.ask(*commands, payload=payload)
        for each, answer in zip(commands, answers, strict=True):
            self.refuse(each, answer)

    def refuse(self, asked: Command, answer: str) -> None:
        """Nothing if a command succeeded.

        Raises:
            Misconfigured: it did not.
        """
        if answer:
            raise Misconfigured(f"{self._where}: HAProxy answers {asked!r} with {answer.splitlines()[0]!r}")

    def _refuse_forbidden(self, commands: tuple[Command, ...], answers: list[str]) -> None:
        for number, answer in enumerate(answers):
            if answer.startswith("Permission denied"):
                asked = commands[number] if len(answers) == len(commands) else commands[0]
                raise NotPermitted(
                    f"{self._where}: HAProxy forbids {asked!r} on {self}: its `stats socket` line needs `level admin`"
                )

    async def _exchange(self, request: bytes) -> str:
        if self._address.startswith("/"):
            reader, writer = await asyncio.open_unix_connection(self._address)
        else:
            host, _, port = self._address.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            writer.write(request)
            answer = bytearray()
            while block := await reader.read(65_536):
                answer += block
                if len(answer) > _LIMIT_BYTES:
                    raise ValueError(f"more than {_LIMIT_BYTES} bytes")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return answer.decode("utf-8", "surrogateescape")


def replies(text: str) -> Iterator[str]:
    """The answers in what a socket sent: each ends with an empty line, and that of a success is nothing else."""
    lines: list[str] = []
    for line in text.split("\n")[:-1]:
        if line:
            lines.append(line)
        else:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def entries(answer: str) -> list[tuple[str, str]] | None:
    """Keys and values of a map as `show map` lists it; None if HAProxy has no such map."""
    if answer.startswith("Unknown map"):
        return None
    found = []
    for line in answer.splitlines():
        _, _, entry = line.partition(" ")  # in front is an address in memory
        key, _, value = entry.partition(" ")
        found.append((key, value))
    return found


def table(answer: str) -> list[dict[str, str]] | None:
    """Rows of `show servers state` or of `show stat`, by the names in the header; None if there is no such backend.

    Raises:
        ValueError: it is neither.
    """
    if answer.startswith((_UNKNOWN_BACKEND, _UNKNOWN_PROXY, _NO_BACKEND)):
        return None
    lines = answer.splitlines()
    if lines[:1] == ["1"]:  # version of the format of `show servers state`
        del lines[0]
    if not lines or not lines[0].startswith("# "):
        raise ValueError(f"HAProxy answered {answer[:80]!r}")
    separator = "," if "," in lines[0] else " "
    return list(csv.DictReader([lines[0].removeprefix("# "), *lines[1:]], delimiter=separator))
