"""`--keep`: leave everything running, and say how to play with it.

Every line that is printed works by copy and paste in another terminal: full paths, the address in the line itself.
"""

import shlex
import time

from rich.console import Console

from rollout import names
from starter.demo.ground import Ground
from starter.demo.scenarios import FAILING_SHARE, Script
from testbed.edge import Edge
from testbed.envoy import ROUTES, Envoy
from testbed.kubernetes.edge import NAMESPACE, KubernetesEdge
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
    for what, value in (
        ("Everything keeps running: the route is back at 0 %, the candidate is healthy, visitors keep coming.", ""),
        ("Temporal's page", f"{ground.server.ui_url}/namespaces/default/workflows"),
        ("The shop", ground.bed.url),
        ("Prometheus", ground.bed.prometheus.url),
        ("Visitors' report", str(ground.load.file)),
        ("Logs, deleted at the end", str(ground.server.directory)),
        (
            "Start the same rollout",
            f"{temporal} start {start} --input-file {shlex.quote(str(script.sent(ground.server.directory)))}",
        ),
        *(
            [("Approve its first stage", f"{temporal} signal {to_it} --name {names.APPROVE}")]
            if any(stage.approval for stage in script.stages)
            else []
        ),
        ("Abort it", f"{temporal} signal {to_it} --name {names.ABORT}"),
        ("Break the candidate", _fault(ground, FAILING_SHARE)),
        ("Mend it", _fault(ground, 0.0)),
        *_of_flag(ground, f"{temporal} signal {to_it} --name {names.RESUME}"),
        *_of_envoy(ground.bed.edge),
        *_of_cluster(ground.bed.edge),
        ("Stop everything", "Ctrl-C"),
    ):
        console.print(f"\n[bold]{what}[/]", soft_wrap=True)
        if value:
            console.print(f"  {value}", markup=False, highlight=False, soft_wrap=True)


def _of_envoy(edge: Edge) -> tuple[tuple[str, str], ...]:
    """Envoy's weights are a file: people can look at it, and put it back."""
    if not isinstance(edge, Envoy):
        return ()
    route = edge.route_file
    seed, draft, into = (shlex.quote(str(path)) for path in (ROUTES / route.name, route.with_name("draft"), route))
    again = "After a promotion, give all traffic to stable again, or the next start is refused"
    return ("Envoy", edge.admin_url), (again, f"cp {seed} {draft} && mv {draft} {into}")


def _of_cluster(edge: Edge) -> tuple[tuple[str, str], ...]:
    """Whoever has kubectl can look at the objects, and change them as an operator would."""
    if not isinstance(edge, KubernetesEdge):
        return ()
    admin = shlex.quote(str(edge.control_plane.kubeconfig))
    return (("Kubernetes, if you have kubectl", f"kubectl --kubeconfig {admin} -n {NAMESPACE} get all"),)


def _of_flag(ground: Ground, resume: str) -> tuple[tuple[str, str], ...]:
    """What there is to play with where a breach turns off a flag; its file can be looked at, and edited by hand."""
    if ground.bed.flag is None:
        return ()
    return (
        ("Break what the flag turns on", _fault(ground, FAILING_SHARE, "flagged_error_ratio")),
        ("Mend that", _fault(ground, 0.0, "flagged_error_ratio")),
        ("Go on without it, once the rollout is held", resume),
        ("The flag; to turn it on again, take the `if` around its `fractional` away", str(ground.bed.flag_file)),
    )


def wait() -> None:
    """Wait to be told to stop; returns then."""
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        return


def _fault(ground: Ground, share: float, field: str = "error_ratio") -> str:
    return f"""curl -X POST -d '{{"{field}": {share:g}}}' {ground.bed.candidate.url}/-/fault"""
