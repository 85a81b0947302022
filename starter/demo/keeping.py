"""`--keep`: leave everything running, and say how to play with it.

Every line that is printed works by copy and paste in another terminal: full paths, the address in the line itself.
"""

import shlex
import time

from rich.console import Console

from rollout import names
from starter.demo.ground import Ground
from starter.demo.scenarios import FAILING_SHARE, Script
from testbed.envoy import ROUTES
from testbed.parts import binary


def explain(console: Console, ground: Ground, script: Script) -> None:
    """Bring the last scenario's parts back to the start, and print what can be done with them.

    Args:
        console: Where to print.
        ground: The running parts.
        script: What the demo has started.
    """
    ground.reset()
    temporal = f"TEMPORAL_ADDRESS={ground.server.address} {shlex.quote(str(binary('temporal')))} workflow"
    to_it = f"--workflow-id {script.spec.workflow_id}"
    start = f"--type {names.ROLLOUT} --task-queue {names.TASK_QUEUE} {to_it} --fail-existing"
    route = ground.bed.envoy.route_file
    seed, draft, into = (shlex.quote(str(path)) for path in (ROUTES / route.name, route.with_name("draft"), route))
    for what, value in (
        ("Everything keeps running: the route is back at 0 %, the candidate is healthy, visitors keep coming.", ""),
        ("Temporal's page", f"{ground.server.ui_url}/namespaces/default/workflows"),
        ("The shop", ground.bed.url),
        ("Prometheus", ground.bed.prometheus.url),
        ("Envoy", ground.bed.envoy.admin_url),
        ("Visitors' report", str(ground.load.file)),
        ("Logs, deleted at the end", str(ground.server.directory)),
        ("Start the same rollout", f"{temporal} start {start} --input-file {shlex.quote(str(script.file))}"),
        ("Approve its first stage", f"{temporal} signal {to_it} --name {names.APPROVE}"),
        ("Abort it", f"{temporal} signal {to_it} --name {names.ABORT}"),
        ("Break the candidate", _fault(ground, FAILING_SHARE)),
        ("Mend it", _fault(ground, 0.0)),
        (
            "After a promotion, give all traffic to stable again, or the next start is refused",
            f"cp {seed} {draft} && mv {draft} {into}",
        ),
        ("Stop everything", "Ctrl-C"),
    ):
        console.print(f"\n[bold]{what}[/]", soft_wrap=True)
        if value:
            console.print(f"  {value}", markup=False, highlight=False, soft_wrap=True)


def wait() -> None:
    """Wait to be told to stop; returns then."""
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        return


def _fault(ground: Ground, error_ratio: float) -> str:
    return f"""curl -X POST -d '{{"error_ratio": {error_ratio:g}}}' {ground.bed.candidate.url}/-/fault"""
