"""Reaching Temporal: connect with patience, and turn what goes wrong into a sentence with the address and what to do.

Every request has a deadline. Without one, a query waits 30 s for a worker that is not there and an update for ever, and
nobody at 3 a.m. knows whether the command line or the rollout hangs.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from typing import Final, TypeVar

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from starter.client import connect
from starter.exits import Sorry

PATIENCE: Final = timedelta(seconds=5)
"""What any one request may take: a worker that was killed costs a query 2 s."""

NO_ANSWER: Final = frozenset({RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE})
"""What a request ends with when nobody answers; the SDK calls its own deadline CANCELLED."""

Answer = TypeVar("Answer")


def reach(job: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Connect, do the job, and hand back what it returns.

    Raises:
        Sorry: the server cannot be reached or refuses.
    """
    return asyncio.run(_reach(job))


async def _reach(job: Callable[[Client], Awaitable[Answer]]) -> Answer:
    where = address()
    try:
        client = await asyncio.wait_for(connect(_silent()), PATIENCE.total_seconds())
    except (RuntimeError, TimeoutError) as error:
        raise Sorry(unreachable(where, _reason(str(error)))) from error
    try:
        return await job(client)
    except RPCError as error:
        raise Sorry(refused(error, where)) from error


def address() -> str:
    """Where the Temporal server is, by the settings.

    Raises:
        Sorry: the settings cannot be read.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except Exception as error:  # the SDK's own ConfigError has no importable name
        raise Sorry(f"the Temporal settings cannot be used: {_first_line(str(error))}") from error
    return config.get("target_host") or "localhost:7233"


def unreachable(where: str, reason: str) -> str:
    """The sentence for a server that does not answer."""
    return (
        f"Temporal at {where} does not answer ({reason}); is it running? TEMPORAL_ADDRESS or a profile says where it "
        "is, and `temporal server start-dev` starts one to try things out"
    )


def refused(error: RPCError, where: str) -> str:
    """The sentence for what the server said."""
    if error.status in NO_ANSWER:
        return unreachable(where, _reason(error.message))
    message = _first_line(error.message)
    if "search attribute" in message:
        return f"Temporal at {where} lacks a search attribute ({message}); run `sluice setup` once"
    return f"Temporal at {where} refuses: {message}"


@cache
def _silent() -> Runtime:
    # The SDK's core would otherwise log every retry to standard error, between our own lines.
    return Runtime(telemetry=TelemetryConfig(logging=None))


def _reason(text: str) -> str:
    """The sentence inside the SDK's nested Rust errors."""
    found = re.search(r'(?:message|error): "((?:[^"\\]|\\.)*)"', text)
    return found[1] if found else _first_line(text) or f"nothing within {PATIENCE.total_seconds():g} s"


def _first_line(text: str) -> str:
    return " ".join(text.strip().splitlines()[:1])
