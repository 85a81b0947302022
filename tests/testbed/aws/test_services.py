"""ECS services scale; in an account of their own, because their tasks replace targets that other tests count on."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rollout.routes import EcsRoute, Route
from testbed.aws.simulated import SimulatedAws
from testbed.processes import wait_until
from testbed.programs import Load, Shop


def test_services_start_tasks_after_a_while_and_their_targets_follow(tmp_path: Path, shops: tuple[Shop, Shop]) -> None:
    stable, canary = shops
    aws = SimulatedAws(tmp_path, stable_port=stable.port, candidate_port=canary.port)
    with ExitStack() as running:
        for part in aws.parts:  # as a bed does it: all at once
            running.callback(part.stop)
            part.launch()
        for part in aws.parts:
            part.await_ready()
        with Load(tmp_path, url=aws.url, rate=100) as load:
            route = TypeAdapter[Route](Route).validate_python(aws.ecs_route("cloud"))
            report = load.finish()
        assert isinstance(route, EcsRoute)
        assert report.dropped == {}  # tasks take over from targets registered by hand
        _scale(aws)


def _scale(aws: SimulatedAws) -> None:
    ecs = aws.client("ecs")
    names = {"cluster": "shop", "service": "checkout-green"}

    def shown() -> dict[str, Any]:
        (service,) = ecs.describe_services(cluster="shop", services=["checkout-green"])["services"]
        return dict(service)

    aws.fault(ecs_delay_s=1.0)
    ecs.update_service(**names, desiredCount=3, deploymentConfiguration={"strategy": "CANARY"})
    service = shown()
    assert (service["desiredCount"], service["runningCount"], service["pendingCount"]) == (3, 0, 3)
    assert [each["rolloutState"] for each in service["deployments"]] == ["IN_PROGRESS"]
    assert service["deploymentConfiguration"]["strategy"] == "CANARY"
    wait_until(lambda: shown()["runningCount"] == 3, within_s=10, what="the tasks run")
    assert shown()["deployments"][0]["rolloutState"] == "COMPLETED"
    wait_until(
        lambda: aws.states("checkout-green").count("healthy") == 3, within_s=10, what="their targets are healthy"
    )
    aws.heal()
    ecs.update_service(**names, desiredCount=0, deploymentConfiguration={"strategy": "ROLLING"})
    wait_until(lambda: "healthy" not in aws.states("checkout-green"), within_s=10, what="the targets are gone")
    assert aws.states("checkout-blue").count("healthy") == 2
    aws.reset()
    assert shown()["desiredCount"] == 0
