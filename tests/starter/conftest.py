"""One town for every test that needs a server: shop, Envoy, Prometheus, Temporal and a worker; ten seconds to build."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.bed import Bed
from testbed.processes import wait_until
from testbed.temporal import TemporalServer, no_profile
from testbed.worker import Worker
from tests.starter.typing_it import Typed, environment, launched, typed
from tests.testbed.routes import replace_routes

ROLLOUT = "rollout:demo/checkout"
QUERY = (
    'sum(rate(http_requests_total{version="canary",status=~"5.."}[10s]))'
    ' / sum(rate(http_requests_total{version="canary"}[10s]))'
)
WITHIN_S = 60.0


@dataclass
class Town:
    """Everything that a rollout needs, and `sluice` to talk about it."""

    server: TemporalServer
    bed: Bed
    worker: Worker
    directory: Path
    following: list[Any] = field(default_factory=list)

    def sluice(self, *words: str | Path, **env: str) -> Typed:
        """Type a command here and wait for its end: a process of its own would spend a second on starting."""
        return typed(*words, env={**no_profile(), "TEMPORAL_ADDRESS": self.server.address, **env})

    def begin(self, *words: str | Path) -> Any:
        """Type a command as people do, as a process, and go on; read it with `finished`."""
        self.following.append(launched(*words, env=environment(self.server.address)))
        return self.following[-1]

    def spec(self, *stages: dict[str, Any], **changes: Any) -> Path:
        """A spec in a file: these stages, short polls, one gate."""
        file = self.directory / "checkout.json"
        spec = {
            "service": "checkout",
            "environment": "demo",
            "release": {"candidate": "1.42.0", "stable": "1.41.3"},
            "strategy": {"stages": list(stages)},
            "routes": [{"kind": "envoy", "connection": "edge", "service": "checkout"}],
            "gates": {"hard-5xx": {"query": QUERY, "above": 0.05, "for": "5s"}},
            "policy": {"poll": "1s", "drain": "2s"},
        }
        file.write_text(json.dumps(spec | changes, indent=2), encoding="utf-8")
        return file

    def status(self) -> dict[str, Any]:
        """Where the rollout is, as a machine would ask."""
        answer: dict[str, Any] = json.loads(self.sluice("status", ROLLOUT, "--json").out)
        return answer

    def await_phase(self, phase: str) -> None:
        """Wait until the rollout is there."""
        wait_until(lambda: self.status()["phase"] == phase, within_s=WITHIN_S, what=f"the rollout is {phase}")

    def calm(self) -> None:
        """Nothing runs, everybody answers, and all traffic is on stable."""
        for process in self.following:
            process.kill()
            process.communicate()
        self.following.clear()
        self.worker.resume()
        self.server.ask("workflow", "terminate", "--workflow-id", ROLLOUT, "--reason", "the test is over")
        replace_routes(self.bed.envoy, percent=0)


@pytest.fixture(scope="package")
def built_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    directory = tmp_path_factory.mktemp("town")
    paused = {"frontend.WorkflowPauseEnabled": "true"}
    with ExitStack() as parts:
        server = parts.enter_context(TemporalServer(directory, ui=False, dynamic_config=paused))
        bed = parts.enter_context(Bed(directory))
        worker = parts.enter_context(Worker(directory, settings=bed.settings, address=server.address))
        bed.load(rate=80)
        yield Town(server, bed, worker, directory)


@pytest.fixture
def town(built_town: Town) -> Iterator[Town]:
    yield built_town
    built_town.calm()
