"""Everything a rollout lives in, each part a process of its own: killed, frozen, brought back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError

from rollout import names
from rollout.happened import Phase, RolloutResult, StageRecord
from rollout.messages import Watching
from rollout.status import RolloutStatus
from testbed.bed import Bed
from testbed.processes import wait_until, wait_until_async
from testbed.programs import Load
from testbed.report import LoadReport
from testbed.temporal import TemporalServer
from testbed.worker import Worker
from tests.faults import route_log
from tests.faults.admin_proxy import AdminProxy
from tests.faults.route_log import RouteLog
from tests.testbed.routes import replace_routes
from workflows.converter import DATA_CONVERTER

POLL_S = 1.0
LOOK_EVERY_S = 0.1
PATIENCE_S = 45.0
RATE = 100.0

# The article's query, looking back 5 s instead of 5 min: a test cannot wait until errors leave a window of minutes.
WINDOW_S = 5
ERRORS = (
    f'sum(rate(http_requests_total{{version="canary",status=~"5.."}}[{WINDOW_S}s]))'
    f' / sum(rate(http_requests_total{{version="canary"}}[{WINDOW_S}s]))'
)
LIMIT = 0.05

Found = TypeVar("Found")


async def eventually(what: str, condition: Callable[[], object]) -> None:
    """Look again and again until it is so."""
    await wait_until_async(lambda: bool(condition()), within_s=PATIENCE_S, what=what)


async def seen(what: str, look: Callable[[], Awaitable[Found]], condition: Callable[[Found], object]) -> Found:
    """Look again and again until what is seen is so; answers with it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = await look()
        if condition(found):
            return found
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}; seen last: {found}"
        await asyncio.sleep(LOOK_EVERY_S)


def ladder(*stages: tuple[float, str], **more: Any) -> dict[str, Any]:
    """A canary: percents and bakes, and other fields of the spec; `query` and `policy` are merged in."""
    gate = {"kind": "threshold", "query": more.pop("query", ERRORS), "above": LIMIT, "for": "2s"}
    policy = {"poll": f"{POLL_S:g}s", "drain": "2s", "no_data": {"hold": "1m"}, **more.pop("policy", {})}
    return {
        "service": "checkout",
        "environment": "demo",
        "release": {"candidate": "1.42.0", "stable": "1.41.3"},
        "strategy": {"stages": [{"percent": percent, "bake": bake} for percent, bake in stages]},
        "routes": [{"kind": "envoy", "connection": "edge", "service": "checkout", "header": {"name": "X-Canary"}}],
        "gates": {"errors": gate},
        "policy": policy,
        **more,
    }


class House:
    """A Temporal server with a database, a bed and a worker; a context manager.

    Attributes:
        settings: The worker's settings; Envoy's admin address in them is the proxy's.
        admin: The way to Envoy's admin pages, which can be frozen.
    """

    def __init__(self, directory: Path, *, ui: bool = False) -> None:
        self.directory = directory
        self.server = TemporalServer(directory, ui=ui)
        self.bed = Bed(directory)
        self.admin = AdminProxy(self.bed.envoy.admin_url)
        self.settings = directory / "worker.toml"
        self.worker = self.new_worker("worker")
        self._open = ExitStack()

    def new_worker(self, name: str) -> Worker:
        """Another worker with the same settings; not started."""
        return Worker(self.directory, settings=self.settings, address=self.server.address, name=name)

    def calm(self) -> None:
        """Bring back what a test has broken: parts, route, and no error left in any gate's window."""
        self.admin.thaw()
        for part in (*self.bed.parts, self.server, self.worker):
            if part.running:
                part.resume()
            else:
                part.start()
        self.bed.fault(0)
        replace_routes(self.bed.envoy, percent=0)
        wait_until(self._is_calm, within_s=30, what="both shops are healthy, and yesterday's errors are forgotten")

    def percent(self) -> float:
        """What the route file says."""
        return route_log.percent(self.bed.envoy.route_file)

    def mark(self) -> dict[str, Any]:
        """What the last write left in the route file: epoch, owner (unless released) and percent."""
        metadata = route_log.read(self.bed.envoy.route_file)["metadata"]["filter_metadata"]
        return dict(metadata["sluice"])

    def stats(self, pattern: str) -> dict[str, Any]:
        """Envoy's own numbers, straight from it."""
        answer = httpx.get(
            f"{self.bed.envoy.admin_url}/stats", params={"format": "json", "filter": pattern}, trust_env=False
        )
        return {each["name"]: each["value"] for each in answer.json()["stats"] if "name" in each}

    def errors(self) -> list[float]:
        """What the gate's query answers now; nothing when Prometheus does not answer."""
        try:
            return [value for _, value in self.bed.prometheus.query(ERRORS)]
        except httpx.HTTPError:
            return []

    def _is_calm(self) -> bool:
        healthy = self.stats(r"^cluster\.checkout-.*\.membership_healthy$")
        try:
            # A Prometheus that was killed says "up" for minutes after its return, before its first scrape.
            scraped = self.bed.prometheus.query(f'up{{job="shop"}} == 1 and time() - timestamp(up) < {2 * POLL_S}')
            known = self.bed.prometheus.query('http_requests_total{status="200"}')
        except httpx.HTTPError:
            return False
        quiet = not any(value > 0 for value in self.errors())  # NaN is not, and nobody asked the candidate anything
        return list(healthy.values()) == [1, 1] and len(scraped) == len(known) == 2 and quiet

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for part in (self.server, self.bed, self.admin):
                undo.enter_context(part)
            settings = self.bed.settings_text().replace(self.bed.envoy.admin_url, self.admin.url)
            patience = f"[connections.prometheus]\ntimeout_s = {POLL_S:g}"
            settings = 'graceful_stop = "1s"\n\n' + settings.replace("[connections.prometheus]", patience)
            self.settings.write_text(settings, encoding="utf-8")
            undo.callback(self.worker.stop)
            self.worker.start()
            self._open = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


@dataclass(frozen=True)
class Glimpse:
    """What the server knows of a rollout, with or without a worker."""

    status: WorkflowExecutionStatus | None
    phase: str | None
    percent: int | None
    pending: dict[str, PendingActivityInfo]

    @classmethod
    def of(cls, described: WorkflowExecutionDescription) -> Self:
        attributes = described.typed_search_attributes
        return cls(
            status=described.status,
            phase=attributes.get(SearchAttributeKey.for_keyword(names.PHASE)),
            percent=attributes.get(SearchAttributeKey.for_int(names.PERCENT)),
            pending={each.activity_type.name: each for each in described.raw_description.pending_activities},
        )

    @property
    def watching(self) -> Watching | None:
        """What the running watch last told the server."""
        found = self.pending.get(names.WATCH_HEALTH)
        payloads = found.heartbeat_details.payloads if found else ()
        return Watching.model_validate_json(payloads[0].data) if payloads else None

    @property
    def observed_s(self) -> float:
        """Seconds of the bake that every gate has seen, as last told."""
        watching = self.watching
        return min((state.observed_ms for state in watching.states.values()), default=0) / 1000 if watching else 0

    @property
    def unseen(self) -> dict[str, str]:
        """What the running watch cannot see, and why, as last told."""
        watching = self.watching
        return {name: each.reason for name, each in watching.unseen.items()} if watching else {}

    @property
    def beat_at(self) -> float:
        """When the running watch last told anything, Unix seconds; 0 if never."""
        found = self.pending.get(names.WATCH_HEALTH)
        return found.last_heartbeat_time.ToMicroseconds() / 1e6 if found else 0


class Running:
    """A rollout that was started, its visitors, and the log of its route file."""

    def __init__(self, handle: WorkflowHandle[Any, Any], load: Load, log: RouteLog) -> None:
        self.handle = handle
        self.load = load
        self.log = log

    async def glimpse(self) -> Glimpse:
        """Ask the server, not a worker."""
        return Glimpse.of(await self.handle.describe())

    async def status(self) -> RolloutStatus:
        """The `status` query; needs a worker."""
        answer: RolloutStatus = await self.handle.query(names.STATUS, result_type=RolloutStatus)
        return answer

    async def until(self, what: str, condition: Callable[[RolloutStatus], object]) -> RolloutStatus:
        """Ask for the status until it is so."""
        return await seen(what, self.status, condition)

    async def observed(self, percent: int, seconds: float) -> Glimpse:
        """Wait until the server has been told of so many seconds of the bake at a percent."""
        return await seen(
            f"{seconds:g} s of the bake at {percent} % are observed",
            self.glimpse,
            lambda now: (now.percent, now.phase) == (percent, Phase.BAKING) and now.observed_s >= seconds,
        )

    async def waiting_for(self, activity: str, attempt: int = 1) -> Glimpse:
        """Wait until an activity is pending, in this attempt or a later one."""
        return await seen(
            f"{activity} is at attempt {attempt}",
            self.glimpse,
            lambda now: activity in now.pending and now.pending[activity].attempt >= attempt,
        )

    async def blind_for(self, what: str) -> Glimpse:
        """Wait until the watch tells that it cannot see a gate or a route."""
        return await seen(f"{what} cannot be seen", self.glimpse, lambda now: what in now.unseen)

    async def beats(self, after: float) -> Glimpse:
        """Wait until a watch tells something new, after a moment in Unix seconds."""
        return await seen("the watch beats again", self.glimpse, lambda now: now.beat_at > after)

    async def promoted(self) -> RolloutResult:
        """Wait for the end, which must be a promotion."""
        result: RolloutResult = await self.handle.result()
        assert result.outcome is Phase.PROMOTED
        return result

    async def went_back(self, outcome: Phase) -> RolloutResult:
        """Wait for the end, which must be this failure; answers with the result in its details."""
        try:
            unwanted = await self.handle.result()
        except WorkflowFailureError as error:
            cause = error.cause
        else:
            raise AssertionError(f"it did not go back but ended with {unwanted}")
        assert isinstance(cause, ApplicationError), cause
        assert cause.type == outcome.value, cause.message
        result = RolloutResult.model_validate(cause.details[0])
        assert (result.outcome, result.percent) == (outcome, 0)
        return result

    def visitors(self) -> LoadReport:
        """Send the visitors home and ask them how it was."""
        return self.load.finish()


def bake_took_s(stage: StageRecord) -> float:
    """Seconds from the proof of a stage's percent to its end."""
    assert stage.arrived_at
    assert stage.left_at
    return (stage.left_at - stage.arrived_at).total_seconds()


def bake_was_exact(result: RolloutResult, bake_s: float, back_at: float) -> None:
    """The first stage observed what it should, to a poll, and ended in time: neither skipped nor begun anew.

    Args:
        result: Of the rollout.
        bake_s: Of its first stage, seconds.
        back_at: When somebody watched again at the latest, Unix seconds; it cannot have ended before.
    """
    stage = result.stages[0]
    took_s = bake_took_s(stage)
    print(f"a bake of {bake_s:g} s observed {stage.baked.total_seconds():g} s and took {took_s:.2f} s")
    assert abs(stage.baked.total_seconds() - bake_s) <= POLL_S
    assert stage.arrived_at
    back_s = back_at - stage.arrived_at.timestamp()
    assert bake_s <= took_s < max(bake_s, back_s) + 3


async def connect(house: House) -> Client:
    """A client as the product has one."""
    return await Client.connect(house.server.address, data_converter=DATA_CONVERTER)
