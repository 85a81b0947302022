"""`sluice demo`: the whole story on this machine, with the real parts.

Temporal with its web page, a router, Prometheus, two versions of a shop and steady visitors, all as ordinary processes
on loopback; then rollouts of the example specs, each ending as promised or told to be otherwise. It needs no container
engine and leaves nothing behind, however it ends.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from temporalio.exceptions import TemporalError

from starter.demo import keeping
from starter.demo.ground import Ground, check_parts, prepare
from starter.demo.playing import play
from starter.demo.scenarios import ALL, NoSpec, Scenario, Script, chosen, fitting, read_script
from starter.demo.scene import Scene
from starter.demo.score import Row
from starter.demo.stopping import stoppable
from starter.demo.table import print_table
from starter.demo.view import Screen, screen
from testbed.edge import ALL_EDGES, CLUSTERS
from testbed.kubernetes.edge import KubernetesEdge
from testbed.parts import PartMissing
from testbed.processes import PartFailed
from testbed.temporal import TemporalServer

AS_PROMISED: Final = 0
NOT_AS_PROMISED: Final = 1
WRONG_USE: Final = 2
TOLD_TO_STOP: Final = 130


def run_demo(*, scenario: str, as_json: bool, keep: bool, router: str = "envoy") -> int:
    """Play scenarios and print what came of them.

    Args:
        scenario: The name of one, or `all`.
        as_json: One JSON object a scenario on standard output, everything else on standard error.
        keep: Leave the last scenario's parts running until told to stop.
        router: Which router stands in front, see `testbed.edge.ALL_EDGES`.

    Returns:
        The exit code: 0 when everything was as promised, 1 when something was not or could not be played (a sentence
        says what), 2 for an unknown scenario or router, 130 when told to stop before the end.
    """
    if router not in ALL_EDGES:
        return _complain(f"there is no router {router!r}; known are {', '.join(ALL_EDGES)}", WRONG_USE)
    scenarios = chosen(scenario, router)
    if not scenarios:
        return _complain(_unplayable(scenario, router), WRONG_USE)
    directory = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    code = NOT_AS_PROMISED
    try:
        with stoppable():
            check_parts(router)
            scripts = {each.file: read_script(each.file) for each in scenarios}
            code = _Demo(directory, scripts, router, as_json=as_json).run(scenarios, keep=keep)
    except KeyboardInterrupt:
        code = _complain("told to stop; everything is stopped", TOLD_TO_STOP)
    except (PartMissing, NoSpec, PartFailed, TemporalError) as error:
        _complain(str(error), code)
    finally:
        if code == NOT_AS_PROMISED and any(directory.iterdir()):
            _complain(f"everything is stopped; the logs are in {directory}", code)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return code


def _unplayable(scenario: str, router: str) -> str:
    fits = ", ".join(each.name for each in fitting(router))
    if scenario in {each.name for each in ALL}:
        return f"scenario {scenario!r} makes no sense on --route {router}; those that do are {fits} and all"
    return f"there is no scenario {scenario!r}; known are {fits} and all"


def _complain(sentence: str, code: int) -> int:
    print(f"sluice demo: {sentence}", file=sys.stderr, flush=True)
    return code


class _Demo:
    """One run of the demo."""

    def __init__(self, directory: Path, scripts: dict[Path, Script], router: str, *, as_json: bool) -> None:
        self._directory = directory
        self._scripts = scripts
        self._router = router
        self._as_json = as_json
        self._began_s = time.monotonic()

    def run(self, scenarios: tuple[Scenario, ...], *, keep: bool) -> int:
        """Play, print, stop everything; returns the exit code."""
        rows: list[Row] = []
        left: tuple[Ground, Script] | None = None
        with ExitStack() as everything:
            with screen(as_json=self._as_json) as shown:
                server = everything.enter_context(TemporalServer(self._directory))
                shown.say(f"Temporal runs; its page is {server.ui_url}")
                for number, scenario in enumerate(scenarios, start=1):
                    scene = Scene(scenario, number, len(scenarios), self._scripts[scenario.file].stages, "")
                    kept = keep and number == len(scenarios)
                    running = everything.enter_context(ExitStack())
                    ground, script, row = self._play(scene, server, shown, running, kept=kept)
                    rows.append(row)
                    if kept:
                        left = ground, script
                    else:
                        running.close()
            console = Console(stderr=self._as_json, highlight=False, emoji=False)
            print_table(console, rows, time.monotonic() - self._began_s)
            if left:
                keeping.explain(console, *left)
                keeping.wait()
        return NOT_AS_PROMISED if any(row.shortfalls for row in rows) else AS_PROMISED

    def _play(
        self, scene: Scene, server: TemporalServer, shown: Screen, running: ExitStack, *, kept: bool
    ) -> tuple[Ground, Script, Row]:
        name = scene.scenario.name
        router = f"a cluster with {self._router}" if self._router in CLUSTERS else self._router
        shown.show(replace(scene, doing=f"starting two shops, Prometheus, {router}, a worker and the visitors"))
        script = self._scripts[scene.scenario.file]
        ground = prepare(self._directory / name, script, self._router, server, running)
        if self._router != "envoy":
            edge = ground.bed.edge
            workload = edge.workload("edge") if isinstance(edge, KubernetesEdge) else None
            script = script.on({**edge.route("edge"), **scene.scenario.route}, workload)
        row = asyncio.run(play(ground, script, scene, shown.show, keep=kept))
        shown.say(f"{name}: {row.outcome}{', not as promised' if row.shortfalls else ', as promised'}")
        if self._as_json:
            print(json.dumps(row.as_json(), ensure_ascii=False), flush=True)
        return ground, script, row
