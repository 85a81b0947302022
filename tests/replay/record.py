"""Record histories: `python -m tests.replay.record [NAME …]`, all of them without a name.

Each scenario plays the real workflow and the real activities on a real server, in front of a router and metrics in
memory, at the same time as the others, and its history goes to `tests/replay/histories/NAME.json`, one event a line.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import Client

from testbed.temporal import TemporalServer
from tests.fakes.connections import FakeConnections
from tests.replay.scenarios import SCENARIOS
from tests.workflows.stories import connect, working
from tests.workflows.trial import Trials

HISTORIES = Path(__file__).with_name("histories")


def _without_traces(part: Any) -> Any:
    """The same without stack traces: they are of the machine that recorded, and no replay reads them."""
    if isinstance(part, dict):
        return {key: _without_traces(value) for key, value in part.items() if key != "stackTrace"}
    return [_without_traces(each) for each in part] if isinstance(part, list) else part


async def record(client: Client, connections: FakeConnections, name: str) -> str:
    """Play one scenario and keep its history; answers with a line about it."""
    trial = await SCENARIOS[name](Trials(client, connections))
    events = (await trial.handle.fetch_history()).to_json_dict()["events"]
    lines = ",\n".join(
        json.dumps(_without_traces(event), ensure_ascii=False, separators=(",", ":")) for event in events
    )
    (HISTORIES / f"{name}.json").write_text(f'{{"events":[\n{lines}\n]}}\n', encoding="utf-8")
    return f"{name}: {len(events)} events"


async def record_all(address: str, chosen: list[str]) -> None:
    """Play and keep the chosen scenarios."""
    client, connections = await connect(address), FakeConnections()
    async with working(client, connections):
        for line in await asyncio.gather(*(record(client, connections, name) for name in chosen)):
            print(line)


def main(chosen: list[str]) -> int:
    """Record, on a server that lives as long."""
    if unknown := sorted(set(chosen) - set(SCENARIOS)):
        print(f"no scenario is called {unknown[0]}; known are {', '.join(SCENARIOS)}")
        return 2
    HISTORIES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        TemporalServer(Path(directory), ui=False, in_memory=True) as server,
    ):
        asyncio.run(record_all(server.address, chosen or list(SCENARIOS)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
