"""Stories: tests that play on the real clock, all of them at the same time.

A rollout is mostly waiting, and its activities wait on the real clock: the server's time skipping does not skip while
an activity runs, and a rollout is always watched by one. One test after the other would take many minutes. So all
selected stories are played together before the first of these tests, each with a service of its own, and a test is
asking how its story ended: its name, its parameters and its traceback are those of any other test.

Rejected: a plug-in for concurrent tests (another dependency for forty lines); one test that gathers many (one failure
would hide the others); playing in a second thread meanwhile (Python before 3.11.8 mixes up two threads that format
tracebacks: "AST constructor recursion depth mismatch").
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Concatenate, ParamSpec

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from tests.fakes.connections import FakeConnections
from tests.workflows.trial import STARTER, Trials
from worker import Settings, build
from workflows.converter import DATA_CONVERTER

AT_ONCE = 24
LONGEST_S = 150.0
NOT_FATAL = "default:Cannot find activity to cancel"
"""The SDK warns when an activity ends while it is being cancelled; as an error that would end the whole worker."""

P = ParamSpec("P")


def story(play: Callable[Concatenate[Trials, P], Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine function whose first parameter is the `Trials` it makes its rollouts with."""

    @functools.wraps(play)
    def test(stories: "Stories", request: pytest.FixtureRequest, **_: object) -> None:
        stories.outcome(request.node.nodeid)

    asked = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("stories", "request")]
    own = list(inspect.signature(play).parameters.values())[1:]
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what pytest reads parameters from
        [*asked, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own)]
    )
    test.play = play  # type: ignore[attr-defined]  # read by `Stories`
    return pytest.mark.server(pytest.mark.filterwarnings(NOT_FATAL)(test))


class Stories:
    """Plays stories with one worker, and knows how each ended."""

    def __init__(self, items: Iterable[pytest.Item]) -> None:
        """Find the stories among pytest's items; nothing is started."""
        self._plays = {item.nodeid: item for item in items if hasattr(getattr(item, "function", None), "play")}
        self._ends: dict[str, BaseException | None] = {}

    def outcome(self, nodeid: str) -> None:
        """Raise what a story raised, if it did."""
        if error := self._ends[nodeid]:
            raise error

    async def play(self, address: str) -> None:
        """Play them all, against a server."""
        client = await connect(address)
        connections = FakeConnections()
        seats = asyncio.Semaphore(AT_ONCE)
        async with working(client, connections):
            await asyncio.gather(*(self._play(nodeid, Trials(client, connections), seats) for nodeid in self._plays))

    async def _play(self, nodeid: str, trials: Trials, seats: asyncio.Semaphore) -> None:
        item = self._plays[nodeid]
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        async with seats:
            try:
                async with asyncio.timeout(LONGEST_S):
                    await item.function.play(trials, **parameters)  # type: ignore[attr-defined]  # see `story`
            except Exception as error:  # noqa: BLE001 - raised again where the test asks
                for trial in trials.made:
                    error.add_note(await trial.evidence())
                self._ends[nodeid] = error
            else:
                self._ends[nodeid] = None
            finally:
                await trials.clear_away()


async def connect(address: str) -> Client:
    """A client as the operator's command line would be one."""
    return await Client.connect(address, data_converter=DATA_CONVERTER, identity=STARTER)


def working(client: Client, connections: FakeConnections) -> Worker:
    """The product's own worker, with its default settings and connections in memory."""
    settings = Settings.model_construct()  # neither a file nor the environment is read
    return build(client, settings, connections)
