"""Stories: tests that play on the real clock, all of them at the same time.

A rollout is mostly waiting, and its activities wait on the real clock: the server's time skipping does not skip while an
activity runs, and a rollout is always watched by one. One test after the other would take many minutes. So every selected
story starts when the first is asked for its outcome, each with a service of its own, and a test is asking for the
outcome: its name, its parameters and its traceback are those of any other test.

Rejected: a plug-in for concurrent tests (another dependency for forty lines), and one test that gathers many (one
failure would hide the others).
"""

import asyncio
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from typing import Concatenate, ParamSpec, Self, cast

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from tests.fakes.connections import FakeConnections
from tests.workflows.trial import STARTER, Trials
from worker import NamedConnections, Settings, build
from workflows.converter import DATA_CONVERTER

AT_ONCE = 24
LONGEST_S = 60.0

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
    return pytest.mark.server(test)


class Stories:
    """Plays stories in a thread of its own, with one worker, and knows how each ended."""

    def __init__(self, address: str, items: Iterable[pytest.Item]) -> None:
        """Find the stories among pytest's items; nothing is started."""
        self._address = address
        self._plays = {item.nodeid: item for item in items if hasattr(getattr(item, "function", None), "play")}
        self._ends: dict[str, Future[None]] = {nodeid: Future() for nodeid in self._plays}
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="stories")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends.values():
            end.cancel()
        self._thread.join()

    def outcome(self, nodeid: str) -> None:
        """Wait for a story's end; raise what it raised."""
        self._ends[nodeid].result()

    def _run(self) -> None:
        try:
            asyncio.run(self._play_all())
        except BaseException as error:
            for end in self._ends.values():
                if not end.done():
                    end.set_exception(error)
            raise

    async def _play_all(self) -> None:
        client = await connect(self._address)
        connections = FakeConnections()
        seats = asyncio.Semaphore(AT_ONCE)
        async with working(client, connections):
            await asyncio.gather(*(self._play(nodeid, client, connections, seats) for nodeid in self._plays))

    async def _play(self, nodeid: str, client: Client, connections: FakeConnections, seats: asyncio.Semaphore) -> None:
        item, end = self._plays[nodeid], self._ends[nodeid]
        trials = Trials(client, connections)
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        async with seats:
            if not end.set_running_or_notify_cancel():
                return
            try:
                async with asyncio.timeout(LONGEST_S):
                    await item.function.play(trials, **parameters)  # type: ignore[attr-defined]  # see `story`
            except BaseException as error:  # noqa: BLE001 - raised again where the test asks
                for trial in trials.made:
                    error.add_note(await trial.evidence())
                end.set_exception(error)
            else:
                end.set_result(None)
            finally:
                await trials.clear_away()


async def connect(address: str) -> Client:
    """A client as the operator's command line would be one."""
    return await Client.connect(address, data_converter=DATA_CONVERTER, identity=STARTER)


def working(client: Client, connections: FakeConnections) -> Worker:
    """The product's own worker, with its default settings and connections in memory."""
    settings = Settings.model_construct()  # neither a file nor the environment is read
    return build(client, settings, cast("NamedConnections", connections))
