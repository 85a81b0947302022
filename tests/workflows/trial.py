"""One rollout under test: its spec, its router, its metrics, and what an operator can say and see."""

import asyncio
import copy
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError

from rollout import names
from rollout.happened import Phase, RolloutResult
from rollout.status import RolloutStatus
from tests.fakes.connections import FakeConnections
from tests.fakes.metrics import FakeMetrics
from tests.fakes.router import FakeRouter

LOOK_EVERY_S = 0.15
PATIENCE_S = 90.0
STARTER = "temporal-cli:starter@here"

_numbers = itertools.count(1)


async def eventually(so: Callable[[], object], what: str) -> None:
    """Wait until something in memory is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


def ladder(*percents: float, bake: str = "2s", **more: Any) -> dict[str, Any]:
    """A canary strategy with one bake for every stage."""
    return {"stages": [{"percent": percent, "bake": bake, **more} for percent in percents]}


def stage(percent: float, bake: str = "2s", **more: Any) -> dict[str, Any]:
    """One stage as a user writes it."""
    return {"percent": percent, "bake": bake, **more}


LASTING: Final = {"stages": [stage(5, "1h"), stage(100)]}
"""What a test takes that acts at 5 %: it stays there however busy the machine is, until somebody ends the bake."""


@dataclass
class Trial:
    """One rollout."""

    client: Client
    connections: FakeConnections
    service: str
    spec: dict[str, Any]
    routers: tuple[FakeRouter, ...]
    metrics: FakeMetrics
    started: list[WorkflowHandle[Any, Any]] = field(default_factory=list)

    @property
    def router(self) -> FakeRouter:
        """The first route's router."""
        return self.routers[0]

    @property
    def id(self) -> str:
        """The workflow's ID."""
        return names.workflow_id("test", self.service)

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The last run."""
        return self.started[-1]

    async def start(
        self, *, type_: str = names.ROLLOUT, inputs: Sequence[object] | None = None, **options: Any
    ) -> "Trial":
        """Start it, with the spec unless other inputs are given."""
        self.started.append(
            await self.client.start_workflow(
                type_,
                args=[self.spec] if inputs is None else inputs,
                id=self.id,
                task_queue=names.TASK_QUEUE,
                result_type=RolloutResult,
                **options,
            )
        )
        return self

    # ── what an operator says ────────────────────────────────────────────────────────────────────

    async def signal(self, name: str, *arguments: Any) -> float:
        """Send a signal; answers with the moment before, in `time.monotonic()`."""
        moment = time.monotonic()
        await self.handle.signal(name, args=list(arguments))
        return moment

    async def update(self, name: str, *arguments: Any) -> str:
        """Send an update; answers with what it said."""
        return str(await self.handle.execute_update(name, args=list(arguments), result_type=str))

    # ── what an operator sees ────────────────────────────────────────────────────────────────────

    async def status(self) -> RolloutStatus:
        """The `status` query."""
        answer: RolloutStatus = await self.handle.query(names.STATUS, result_type=RolloutStatus)
        return answer

    async def until(self, seen: Callable[[RolloutStatus], object], what: str = "it is so") -> RolloutStatus:
        """Ask for the status until it is so."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status = await self.status()
            if seen(status):
                return status
            assert time.monotonic() < deadline, f"{self.service} not in time: {what}\n{status.details}"
            await asyncio.sleep(LOOK_EVERY_S)

    async def until_phase(self, phase: Phase, stage_: str | None = None) -> RolloutStatus:
        """Wait for a phase, of a stage."""
        return await self.until(lambda now: now.phase is phase and stage_ in {None, now.stage}, f"{phase} {stage_}")

    async def until_baking(self, stage_: str | None = None) -> RolloutStatus:
        """Wait for a bake."""
        return await self.until_phase(Phase.BAKING, stage_)

    async def until_looked(self, times: int = 2) -> RolloutStatus:
        """Wait until health was asked for so many times more."""
        before = len(self.metrics.asked)
        return await self.until(lambda _: len(self.metrics.asked) >= before + times, "it has looked again")

    async def until_written(self, percent: float) -> float:
        """Wait until the router has got a percent; answers when."""
        await eventually(lambda: percent in self.router.percents, f"{self.service}: {percent} % is written")
        return next(each.at for each in self.router.written if each.write.percent == percent)

    async def details(self) -> str:
        """What the UI shows as current details."""
        metadata = await self.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return str(metadata.current_details)

    async def attributes(self) -> dict[str, Any]:
        """Our search attributes as the server has them."""
        described = await self.handle.describe()
        found = {pair.key.name: pair.value for pair in described.typed_search_attributes}
        return {name: value for name, value in found.items() if name in names.SEARCH_ATTRIBUTES}

    async def until_pending(self, *wanted: str) -> None:
        """Wait until the server has only activities of these types under way, or to be tried again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            pending = (await self.handle.describe()).raw_description.pending_activities
            if (found := [activity.activity_type.name for activity in pending]) == list(wanted):
                return
            assert time.monotonic() < deadline, f"{self.service} not in time: {wanted}, but {found}"
            await asyncio.sleep(LOOK_EVERY_S)

    async def until_attributes(self, **wanted: object) -> None:
        """Wait until search attributes have these values: the server gets them a moment after a query shows them."""
        deadline = time.monotonic() + PATIENCE_S
        while not wanted.items() <= (found := await self.attributes()).items():
            assert time.monotonic() < deadline, f"{self.service} not in time: {wanted}, but {found}"
            await asyncio.sleep(LOOK_EVERY_S)

    # ── how it ends ──────────────────────────────────────────────────────────────────────────────

    async def promoted(self) -> RolloutResult:
        """Wait for the end, which must be a promotion."""
        result: RolloutResult = await self.handle.result()
        assert (result.outcome, result.percent) == (Phase.PROMOTED, 100)
        assert (await self.attributes())[names.PHASE] == Phase.PROMOTED
        assert all((each.percent, each.owner, each.forced) == (100, None, False) for each in self.routers)
        return result

    async def failed(self, type_: str) -> ApplicationError:
        """Wait for the end, which must be a deliberate failure of this type; answers with it."""
        failure = await self.failure()
        assert isinstance(failure, ApplicationError), failure
        assert failure.type == type_, failure.message
        assert failure.failure is not None
        assert not failure.failure.stack_trace, "an operator is shown a Python stack trace"
        return failure

    async def went_back(self, outcome: Phase) -> RolloutResult:
        """Wait for an end other than promotion; answers with the result in the failure's details.

        Whatever the reason, the traffic is on stable, the mark is off, and nothing was raised on the way.
        """
        result = RolloutResult.model_validate((await self.failed(outcome.value)).details[0])
        assert (result.outcome, result.percent) == (outcome, 0)
        assert (await self.attributes())[names.PHASE] == outcome
        self.is_back()
        return result

    async def failure(self) -> BaseException:
        """Wait for the end, which must be none of the good ones."""
        try:
            result = await self.handle.result()
        except WorkflowFailureError as error:
            return error.cause
        raise AssertionError(f"it did not fail but ended with {result}")

    async def cancelled(self) -> None:
        """Wait for the end, which must be Canceled, with the traffic on stable."""
        assert isinstance(await self.failure(), CancelledError)
        self.is_back()

    def is_back(self) -> None:
        """All traffic is on stable and nobody holds the routes."""
        for router in self.routers:
            assert (router.percent, router.owner, router.forced) == (0, None, False), router
            returns = [each for each in router.written if each.write.percent == 0 and each.write.release]
            assert len(returns) <= 1, f"0 % was written {len(returns)} times"
            assert not returns or router.written[-1] is returns[0], "something was written after the way back"

    # ── the history ──────────────────────────────────────────────────────────────────────────────

    async def events(self) -> list[HistoryEvent]:
        """The whole history."""
        return [event async for event in self.handle.fetch_history_events()]

    async def event_types(self) -> Counter[str]:
        """How many events of each type there are, without workflow tasks: those depend on how busy the machine is."""
        found = Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in await self.events())
        return Counter({name: count for name, count in found.items() if not name.startswith("WORKFLOW_TASK")})

    async def evidence(self) -> str:
        """What a failed test needs to be understood."""
        if not self.started:
            return f"{self.service} was never started"
        lines = [f"{self.service}: writes {[(round(each.at, 2), each.write.percent) for each in self.router.written]}"]
        try:
            async with asyncio.timeout(5):
                lines += [EventType.Name(event.event_type) for event in await self.events()][-30:]
                lines.append((await self.status()).details)
        except Exception as error:  # noqa: BLE001 - it must not hide the failure it explains
            lines.append(f"(no more: {error!r})")
        return "\n".join(lines)


class Trials:
    """Makes rollouts that do not meet: every one has a service, a router and metrics of its own."""

    def __init__(self, client: Client, connections: FakeConnections) -> None:
        self.client = client
        self.connections = connections
        self.made: list[Trial] = []

    def trial(self, strategy: dict[str, Any] | None = None, *, routes: int = 1, **spec: Any) -> Trial:
        """Prepare a rollout; nothing is started.

        Args:
            strategy: as in a spec; default 5 → 100 %, two seconds each.
            routes: how many routes move together.
            spec: more fields of the spec; `policy` and `gates` are merged into the usual ones.
        """
        service = f"service-{next(_numbers)}"
        edges = [f"{service}-edge-{number}" for number in range(routes)]
        routers = tuple(FakeRouter(edge) for edge in edges)
        metrics = FakeMetrics()
        self.connections.routers.update(zip(edges, routers, strict=True))
        self.connections.sources[service] = metrics
        gate = {"kind": "threshold", "query": 'errors_ratio{x="1"}', "above": 0.05, "connection": service}
        policy = {"poll": "1s", "prove_within": "3s", "drain": "1s", **spec.pop("policy", {})}
        gates = {"errors": gate, **{name: {**gate, **more} for name, more in spec.pop("gates", {}).items()}}
        whole = {
            "schema": 1,
            "service": service,
            "environment": "test",
            "release": {"candidate": "2.0", "stable": "1.0"},
            "strategy": strategy or ladder(5, 100),
            "routes": [{"kind": "envoy", "connection": edge, "service": service} for edge in edges],
            "gates": gates,
            "policy": policy,
            **spec,
        }
        made = Trial(self.client, self.connections, service, copy.deepcopy(whole), routers, metrics)
        self.made.append(made)
        return made

    async def clear_away(self) -> None:
        """Terminate what a story has left running."""
        for handle in [handle for trial in self.made for handle in trial.started]:
            with suppress(RPCError):  # it has ended
                await handle.terminate("the story is over")
