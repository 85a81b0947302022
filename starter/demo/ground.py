"""The real parts that one scenario runs on, and their end.

A fresh bed for each scenario: series and errors of the one before would still be inside the gate's window. A worker for
each bed, because a worker reads its connections when it starts. Only the Temporal server is shared, so that all runs
stand under one workflow ID in one web page.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rollout.spec import RolloutSpec
from testbed.bed import Bed
from testbed.envoy import seed_routes
from testbed.part import Part
from testbed.parts import binary
from testbed.processes import PartFailed
from testbed.programs import Load
from testbed.temporal import TemporalServer
from testbed.worker import Worker

# A watch runs for the whole of a bake: when the worker stops, waiting for its end would only be waiting.
_WORKER = {"SLUICE_GRACEFUL_STOP": "500ms"}


@dataclass(frozen=True)
class Ground:
    """Everything that runs while a scenario is played.

    Attributes:
        server: Temporal, shared by all scenarios.
        bed: Shops, Envoy, Prometheus.
        worker: Of this bed.
        load: The visitors.
    """

    server: TemporalServer
    bed: Bed
    worker: Worker
    load: Load

    def check(self) -> None:
        """Look whether every process is there.

        Raises:
            PartFailed: One has ended by itself; says which one and where its log is.
        """
        parts: tuple[Part, ...] = (self.server, *self.bed.parts, self.worker, self.load)
        for part in parts:
            if not part.running:
                raise PartFailed(f"{part.name} ended by itself with exit code {part.child.exit_code}; log: {part.log}")

    def reset(self) -> None:
        """Bring everything back to the start: a healthy candidate without traffic."""
        self.bed.fault(0.0)
        fresh = seed_routes(self.bed.directory / "seed", self.bed.service)
        fresh.rename(self.bed.envoy.route_file)  # a rename: Envoy notices nothing else

    def link(self, workflow_id: str, run_id: str) -> str:
        """Address of a run's page."""
        return f"{self.server.ui_url}/namespaces/default/workflows/{quote(workflow_id, safe='')}/{run_id}"


def check_parts() -> None:
    """Look whether every real part is on this machine, before any of them is started.

    Raises:
        PartMissing: One is not; says how to get it.
    """
    for name in ("temporal", "envoy", "prometheus"):
        binary(name)


def prepare(directory: Path, spec: RolloutSpec, server: TemporalServer, closing: ExitStack) -> Ground:
    """Start the parts of one scenario; takes about 8 s, most of it until Prometheus has scraped the shops.

    Args:
        directory: For configurations, data and logs.
        spec: What will be rolled out.
        server: The running Temporal.
        closing: Gets everything that is to be stopped.

    Raises:
        PartFailed: One does not get ready; its log is in the message.
    """
    bed = closing.enter_context(Bed(directory, service=spec.service))
    worker = Worker(directory, settings=bed.settings, address=server.address, env=_WORKER)
    closing.enter_context(worker)
    return Ground(server, bed, worker, bed.load())
