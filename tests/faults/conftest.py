"""One house for all fault tests: starting it costs ten seconds. Each test finds it calm."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from rollout import names
from rollout.happened import RolloutResult
from tests.faults.house import RATE, House, Running, connect
from tests.faults.route_log import RouteLog

Begin = Callable[[dict[str, Any]], Awaitable[Running]]


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
async def begin(house: House) -> AsyncIterator[Begin]:
    """Start a rollout with visitors; whatever is left of it in the end is removed."""
    house.calm()
    client = await connect(house)
    started: list[Running] = []
    with ExitStack() as over:
        log = over.enter_context(RouteLog(house.bed.envoy.route_file))

        async def start(spec: dict[str, Any]) -> Running:
            load = house.bed.load(rate=RATE)
            over.callback(load.stop)
            handle = await client.start_workflow(
                names.ROLLOUT,
                spec,
                id=names.workflow_id(spec["environment"], spec["service"]),
                task_queue=names.TASK_QUEUE,
                result_type=RolloutResult,
            )
            started.append(Running(handle, load, log))
            return started[-1]

        yield start
    house.server.resume() if house.server.running else house.server.start()
    for run in started:
        if (await run.glimpse()).status is WorkflowExecutionStatus.RUNNING:
            await run.handle.terminate("the test is over")
