"""Asking metrics servers from the command line: the only commands that connect to anything but Temporal.

They use the worker's own settings file and adapters, so what they say is what a rollout will see.
"""

import asyncio
import time

from pydantic import ValidationError

from activities.connecting import OnlyNamed, config_file, connected
from activities.learning import Learnt, learn
from rollout.errors import SluiceError
from rollout.gates import CountingGate
from rollout.spec import RolloutSpec
from starter.exits import Sorry


def ask(spec: RolloutSpec) -> dict[str, Learnt]:
    """What is known about every gate that counts.

    Raises:
        Sorry: no settings, no such connection, or no answer.
    """
    try:
        return asyncio.run(_ask(spec))
    except SluiceError as error:
        raise Sorry(str(error)) from error


def settings() -> OnlyNamed:
    """The worker's settings, as far as they name connections.

    Raises:
        Sorry: the file cannot be used.
    """
    try:
        return OnlyNamed()
    except ValidationError as error:
        raise Sorry(f"{config_file()}: {error}") from error


async def _ask(spec: RolloutSpec) -> dict[str, Learnt]:
    now_ms = time.time_ns() // 1_000_000
    async with connected(settings()) as connections:
        return {
            name: await learn(connections, spec, name, gate, now_ms)
            for name, gate in spec.gates.items()
            if isinstance(gate, CountingGate)
        }
