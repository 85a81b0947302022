"""The composition root: settings → clients → adapters → activities → Worker. Nothing imports it.

Run it with `python -m worker` or `sluice worker`. Settings come from a TOML file (`SLUICE_CONFIG`, default
`sluice.toml`) and from `SLUICE_*` variables, which win; Temporal's address comes from where the Temporal CLI takes it.
A spec names connections; only this process knows their addresses and secrets.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import closing, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import uvloop
from pydantic import BeforeValidator, Field, ValidationError
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from activities.boundary import Boundary
from activities.connecting import NamedSettings, config_file, connected, listed
from activities.mitigation import MitigationActivities
from activities.orphans import Orphans, folder
from activities.ports import Connections
from activities.preflight import PreflightActivities
from activities.traffic import TrafficActivities
from activities.watching import WatchingActivities
from rollout import names
from rollout.durations import Duration
from starter.client import connect
from workflows.rollout import Rollout
from workflows.unknown import UnknownType

log = logging.getLogger("sluice.worker")

# They share one interpreter: of thousands begun at once, each would last longer than the 2 s after which the SDK says
# "deadlock" and throws the work away. With 16, pollers that wait for new rollouts kept the places, and what hundreds
# that breached at once had to decide waited for 2 s.
_WORKFLOW_TASKS = 40

# Those that wait cost nothing. From the SDK's least, one, it took so long until there were enough for 200 rollouts
# started at once that every second one had a decision that timed out and was handed out again.
_POLLERS = PollerBehaviorAutoscaling(minimum=8, initial=8)


def _state_directory() -> Path | None:
    """Where a service keeps what outlives it: systemd's word first, then the user's."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME")
    home = os.environ.get("HOME")
    return Path(base or f"{home}/.local/state") / "sluice" if base or home else None


def _no_place(value: object) -> object:
    return None if value == "" else value


class Settings(NamedSettings):
    """What a worker needs to know."""

    task_queue: str = names.TASK_QUEUE
    metrics_address: str | None = Field(default=None, description="host:port where Prometheus may scrape this worker")
    rollouts: int = Field(default=4000, ge=1, description="rollouts watched at the same time")
    queries: int = Field(default=16, ge=1, description="metric queries in flight")
    heartbeat_every: Duration = Field(default=timedelta(seconds=1), description="least distance of heartbeats sent")
    graceful_stop: Duration = Field(default=timedelta(seconds=5), description="what a stop gives short activities")
    sticky: Duration = Field(default=timedelta(seconds=2), description="what a killed worker costs a command")
    state_directory: Annotated[Path | None, BeforeValidator(_no_place)] = Field(
        default_factory=_state_directory,
        description="where it is noted what runs, for whoever is started again after a kill; empty: nowhere",
    )
    log_level: str = "INFO"


async def missing_search_attributes(client: Client) -> tuple[str, ...]:
    """Names that the server does not know; a workflow that set one would hang."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    known = await client.operator_service.list_search_attributes(request)
    return tuple(name for name in names.SEARCH_ATTRIBUTES if name not in known.custom_attributes)


def build(client: Client, settings: Settings, connections: Connections, orphans: Orphans | None = None) -> Worker:
    """Put the worker together."""
    preflight, traffic, watching, mitigation = (
        PreflightActivities(connections),
        TrafficActivities(connections),
        WatchingActivities(connections),
        MitigationActivities(connections),
    )
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[Rollout, UnknownType],
        activities=[
            preflight.plan_rollout,
            traffic.prepare_pods,
            traffic.shift_traffic,
            traffic.restore_traffic,
            traffic.drain_pool,
            watching.watch_health,
            mitigation.apply_mitigation,
        ],
        interceptors=[Boundary(), *([orphans] if orphans else [])],
        workflow_runner=UnsandboxedWorkflowRunner(),  # the tests have the sandbox: ADR 11
        max_concurrent_workflow_tasks=_WORKFLOW_TASKS,
        max_cached_workflows=settings.rollouts,
        max_concurrent_activities=settings.rollouts + 200,
        workflow_task_poller_behavior=_POLLERS,
        activity_task_poller_behavior=_POLLERS,
        sticky_queue_schedule_to_start_timeout=settings.sticky,
        max_heartbeat_throttle_interval=settings.heartbeat_every,
        default_heartbeat_throttle_interval=settings.heartbeat_every,
        graceful_shutdown_timeout=settings.graceful_stop,
    )


def keeping(settings: Settings, client: Client) -> Orphans | None:
    """What keeps note of what runs; without it a killed worker is noticed by its silence, some seconds later."""
    if settings.state_directory is None:
        return None
    try:
        return Orphans(folder(settings.state_directory, client, settings.task_queue))
    except OSError as error:
        log.warning("what runs is not noted: %s", error)
        return None


async def run(settings: Settings) -> int:
    """Work until told to stop; returns the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = PrometheusConfig(bind_address=settings.metrics_address) if settings.metrics_address else None
    client = await connect(Runtime(telemetry=TelemetryConfig(metrics=metrics)))
    try:
        if missing := await missing_search_attributes(client):
            log.error("search attributes are missing: %s; run `sluice setup` once", ", ".join(missing))
            return 1
    except RPCError as error:
        log.warning("search attributes could not be checked: %s", error)
    orphans = keeping(settings, client)
    with closing(orphans) if orphans else nullcontext():
        async with connected(settings, settings.queries) as connections, build(client, settings, connections, orphans):
            log.info("worker started task_queue=%s connections=%s", settings.task_queue, listed(settings.connections))
            taking_back = asyncio.create_task(orphans.take_back(client)) if orphans else None
            await stop.wait()
            if taking_back:
                taking_back.cancel()
            log.info("worker stopping")
    log.info("worker stopped")
    return 0


def main() -> int:
    """Read the settings and run."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"{config_file()}: {error}\n")
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it quotes headers that it cannot read: an echo of a token
    # Nothing that is loaded by now is ever garbage, and cycles are few: thousands of rollouts that live for hours were
    # searched for some again and again.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        return uvloop.run(run(settings))
    except RuntimeError as error:  # the SDK's for a server that cannot be reached
        log.error("Temporal does not answer: %s; TEMPORAL_ADDRESS or a profile says where it is", error)  # noqa: TRY400
        return 1


if __name__ == "__main__":
    exit_code = main()
    logging.shutdown()
    # Not sys.exit: the SDK's threads may still touch Python while it finalizes and turn a clean stop into SIGABRT.
    os._exit(exit_code)
