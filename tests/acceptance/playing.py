"""Stories on a cluster: tests that play at the same time, as those of `tests.workflows.stories` do and for its reasons.

They have a control plane and a worker of their own, so they are told apart from those by another name of the coroutine
function that is played.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from activities.kubernetes import KubernetesConnection
from activities.shared import Shared
from tests.acceptance.clients import Clients
from tests.acceptance.cluster import ClusterConnections
from tests.acceptance.gatekeeper import accept_all
from tests.acceptance.trial import ClusterTrials
from tests.workflows.stories import NOT_FATAL, connect, working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from temporalio.client import Client

    from testbed.kubernetes import ControlPlane

AT_ONCE = 14
LONGEST_S = 150.0
WHOLE_S = 900


def acceptance(play: Callable[[ClusterTrials], Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine function whose only parameter is the `ClusterTrials` it makes its rollouts with."""

    @functools.wraps(play)
    def test(rollouts: Rollouts, request: pytest.FixtureRequest) -> None:
        rollouts.outcome(request.node.nodeid)

    asked = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("rollouts", "request")]
    test.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]  # what pytest reads parameters from
    test.on_cluster = play  # type: ignore[attr-defined]  # read by `Rollouts`
    patient = pytest.mark.timeout(WHOLE_S)(test)  # the first one waits until all have been played
    return pytest.mark.server(pytest.mark.filterwarnings(NOT_FATAL)(patient))


class Rollouts:
    """Plays stories with one worker, and knows how each ended."""

    def __init__(self, items: Iterable[pytest.Item], control_plane: ControlPlane) -> None:
        """Find the stories among pytest's items; nothing is started."""
        plays = {item.nodeid: getattr(getattr(item, "function", None), "on_cluster", None) for item in items}
        self._plays: dict[str, Any] = {nodeid: play for nodeid, play in plays.items() if play is not None}
        self._control_plane, self._clients = control_plane, Clients(control_plane)
        self._ends: dict[str, BaseException | None] = {}

    def outcome(self, nodeid: str) -> None:
        """Raise what a story raised, if it did."""
        if error := self._ends[nodeid]:
            raise error

    async def play(self, address: str) -> None:
        """Play them all, against a Temporal server."""
        client = await connect(address)
        seats = asyncio.Semaphore(AT_ONCE)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(AT_ONCE, "test"))
        async with connected(self._control_plane) as connections, working(client, connections):
            plays = (self._play(nodeid, client, connections, seats) for nodeid in self._plays)
            await asyncio.gather(*plays)
        self._clients.close()

    async def _play(
        self, nodeid: str, client: Client, connections: ClusterConnections, seats: asyncio.Semaphore
    ) -> None:
        trials = ClusterTrials(client, connections, self._clients, self._control_plane)
        async with seats:
            try:
                async with asyncio.timeout(LONGEST_S):
                    await self._plays[nodeid](trials)
            except Exception as error:  # noqa: BLE001 - raised again where the test asks
                for trial in trials.made:
                    error.add_note(await trial.evidence())
                self._ends[nodeid] = error
            else:
                self._ends[nodeid] = None
            finally:
                await trials.clear_away()


@asynccontextmanager
async def connected(control_plane: ControlPlane) -> AsyncIterator[ClusterConnections]:
    """The worker's connections, and somebody who accepts routes, as long as they are needed."""
    settings = KubernetesConnection(
        kubeconfig=control_plane.kubeconfig, timeout_s=10, settle=timedelta(milliseconds=300)
    )
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        threads = stack.enter_context(ThreadPoolExecutor(16, "router"))
        shared = Shared(http, threads)
        stack.push_async_callback(shared.aclose)
        accepting = asyncio.create_task(accept_all(control_plane.api))
        try:
            yield ClusterConnections(settings, shared)
        finally:
            accepting.cancel()
            with suppress(asyncio.CancelledError):
                await accepting
