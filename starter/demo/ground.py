"""The real parts that one scenario runs on, and their end.

A fresh bed for each scenario: series and errors of the one before would still be inside the gate's window. A worker for
each bed, because a worker reads its connections when it starts. Only the Temporal server is shared, so that all runs
stand under one workflow ID in one web page.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starter.demo.scenarios import Script
from testbed.bed import Bed
from testbed.edge import CLUSTERS
from testbed.nginx_lua import lua_modules
from testbed.part import Part
from testbed.parts import binary
from testbed.processes import PartFailed
from testbed.programs import Load
from testbed.temporal import TemporalServer
from testbed.worker import Worker

_PROGRAMS = {
    "envoy": ("envoy",),
    "haproxy": ("haproxy",),
    "haproxy-weights": ("haproxy",),
    "nginx": ("nginx",),
    "nginx-reload": ("nginx",),
    "nginx-weights": ("nginx",),
    "alb": ("haproxy",),
    **dict.fromkeys(CLUSTERS, ("haproxy", "etcd", "kube-apiserver", "kube-controller-manager", "kwok")),
}

# A watch runs for the whole of a bake: when the worker stops, waiting for its end would only be waiting.
_WORKER = {"SLUICE_GRACEFUL_STOP": "500ms"}


@dataclass(frozen=True)
class Ground:
    """Everything that runs while a scenario is played.

    Attributes:
        server: Temporal, shared by all scenarios.
        bed: Shops, router, Prometheus.
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
        """Bring everything back to the start: a healthy candidate without traffic, its feature on."""
        self.bed.fault(0.0)
        if self.bed.flag is not None:
            self.bed.fault_of_feature(0.0)
            self.bed.turn_flag_on()
        self.bed.edge.reset()

    def link(self, workflow_id: str, run_id: str) -> str:
        """Address of a run's page."""
        return f"{self.server.ui_url}/namespaces/default/workflows/{quote(workflow_id, safe='')}/{run_id}"


def check_parts(router: str) -> None:
    """Look whether every real part is on this machine, before any of them is started.

    Args:
        router: Which router will stand in front.

    Raises:
        PartMissing: One is not; says how to get it.
    """
    for name in ("temporal", "prometheus", *_PROGRAMS[router]):
        binary(name)
    if router == "nginx":
        lua_modules()


def prepare(directory: Path, script: Script, router: str, server: TemporalServer, closing: ExitStack) -> Ground:
    """Start the parts of one scenario; takes about 8 s, most of it until Prometheus has scraped the shops.

    Args:
        directory: For configurations, data and logs.
        script: What will be rolled out.
        router: Which router stands in front.
        server: The running Temporal.
        closing: Gets everything that is to be stopped.

    Raises:
        PartFailed: One does not get ready; its log is in the message.
    """
    bed = closing.enter_context(Bed(directory, service=script.spec.service, router=router, flag=script.flag))
    worker = Worker(directory, settings=bed.settings, address=server.address, env=_WORKER | bed.worker_environment)
    closing.enter_context(worker)
    return Ground(server, bed, worker, bed.load())
