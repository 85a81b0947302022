"""`sluice demo`: the whole story on this machine, with the real parts.

Temporal with its web page, Envoy, Prometheus, two versions of a shop and steady visitors, all as ordinary processes on
loopback; then up to four rollouts of the example spec, each ending as promised or told to be otherwise. It needs no
container engine and leaves nothing behind, however it ends.
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
from starter.demo.scenarios import ALL, NoSpec, Scenario, Script, chosen, read_script
from starter.demo.scene import Scene
from starter.demo.score import Row
from starter.demo.stopping import stoppable
from starter.demo.table import print_table
from starter.demo.view import Screen, screen
from testbed.parts import PartMissing
from testbed.processes import PartFailed
from testbed.temporal import TemporalServer

AS_PROMISED: Final = 0
NOT_AS_PROMISED: Final = 1
WRONG_USE: Final = 2
TOLD_TO_STOP: Final = 130


def run_demo(*, scenario: str, as_json: bool, keep: bool) -> int:
    """Play scenarios and print what came of them.

    Args:
        scenario: `good`, `bad`, `slow`, `abort` or `all`.
        as_json: One JSON object a scenario on standard output, everything else on standard error.
        keep: Leave the last scenario's parts running until told to stop.

    Returns:
        The exit code: 0 when everything was as promised, 1 when something was not or could not be played (a sentence
        says what), 2 for an unknown scenario, 130 when told to stop before the end.
    """
    scenarios = chosen(scenario)
    if not scenarios:
        known = ", ".join(known.name for known in ALL)
        return _complain(f"there is no scenario {scenario!r}; known are {known} and all", WRONG_USE)
    directory = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    code = NOT_AS_PROMISED
    try:
        with stoppable():
            check_parts()
            code = _Demo(directory, read_script(), as_json=as_json).run(scenarios, keep=keep)
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


def _complain(sentence: str, code: int) -> int:
    print(f"sluice demo: {sentence}", file=sys.stderr, flush=True)
    return code


class _Demo:
    """One run of the demo."""

    def __init__(self, directory: Path, script: Script, *, as_json: bool) -> None:
        self._directory = directory
        self._script = script
        self._as_json = as_json
        self._began_s = time.monotonic()

    def run(self, scenarios: tuple[Scenario, ...], *, keep: bool) -> int:
        """Play, print, stop everything; returns the exit code."""
        rows: list[Row] = []
        left: Ground | None = None
        with ExitStack() as everything:
            with screen(as_json=self._as_json) as shown:
                server = everything.enter_context(TemporalServer(self._directory))
                shown.say(f"Temporal runs; its page is {server.ui_url}")
                for number, scenario in enumerate(scenarios, start=1):
                    scene = Scene(scenario, number, len(scenarios), self._script.stages, "")
                    kept = keep and number == len(scenarios)
                    running = everything.enter_context(ExitStack())
                    ground, row = self._play(scene, server, shown, running, kept=kept)
                    rows.append(row)
                    if kept:
                        left = ground
                    else:
                        running.close()
            console = Console(stderr=self._as_json, highlight=False, emoji=False)
            print_table(console, rows, time.monotonic() - self._began_s)
            if left:
                keeping.explain(console, left, self._script)
                keeping.wait()
        return NOT_AS_PROMISED if any(row.shortfalls for row in rows) else AS_PROMISED

    def _play(
        self, scene: Scene, server: TemporalServer, shown: Screen, running: ExitStack, *, kept: bool
    ) -> tuple[Ground, Row]:
        name = scene.scenario.name
        shown.show(replace(scene, doing="starting two shops, Prometheus, Envoy, a worker and the visitors"))
        ground = prepare(self._directory / name, self._script.spec, server, running)
        row = asyncio.run(play(ground, self._script, scene, shown.show, keep=kept))
        shown.say(f"{name}: {row.outcome}{', not as promised' if row.shortfalls else ', as promised'}")
        if self._as_json:
            print(json.dumps(row.as_json(), ensure_ascii=False), flush=True)
        return ground, row
