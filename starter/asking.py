"""Asking metrics servers from the command line: the only commands that connect to anything but Temporal.

They use the worker's own settings file and adapters, so what they say is what a rollout will see.
"""

import asyncio
import time

from pydantic import ValidationError

from activities.connecting import OnlyNamed, config_file, connected
from activities.learning import Learnt, learn
from activities.recalling import Span, recalled
from rollout.errors import SluiceError
from rollout.gates import CountingGate
from rollout.judge.samples import Line
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


def recall(spec: RolloutSpec, connection: str, span: Span, percent: float | None) -> list[Line]:
    """What a metrics server knows of a past time, line by line.

    Args:
        spec: whose gates.
        connection: name of the server in the worker's settings; the gates' own names do not matter.
        span: when it was.
        percent: percent of traffic on the candidate then; None: its share of what was counted.

    Raises:
        Sorry: no settings, no such connection, or no answer.
    """
    gates = {name: gate.model_copy(update={"connection": connection}) for name, gate in spec.gates.items()}
    asked = spec.model_copy(update={"gates": gates})

    async def go() -> list[Line]:
        async with connected(settings()) as connections:
            connections.metrics(connection)  # also a spec without a gate that asks anything names a real server
            return await recalled(connections, asked, span, percent)

    try:
        return asyncio.run(go())
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
        gates = {name: gate for name, gate in spec.gates.items() if isinstance(gate, CountingGate)}
        told = await asyncio.gather(*(learn(connections, spec, name, gate, now_ms) for name, gate in gates.items()))
        return dict(zip(gates, told, strict=True))
