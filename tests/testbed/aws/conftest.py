from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbed.aws.simulated import SimulatedAws
from testbed.programs import Shop
from tests.testbed.aws.visiting import Visits


@pytest.fixture(scope="package")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Shop]]:
    directory = tmp_path_factory.mktemp("aws-shops")
    with Shop(directory, version="stable") as stable, Shop(directory, version="canary") as canary:
        yield stable, canary


@pytest.fixture(scope="package")
def running(shops: tuple[Shop, Shop], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
    """One account for all tests here: making it costs seconds. Whoever breaks a part brings it back."""
    stable, canary = shops
    directory = tmp_path_factory.mktemp("aws")
    with SimulatedAws(directory, stable_port=stable.port, candidate_port=canary.port) as aws:
        yield aws


@pytest.fixture
def aws(running: SimulatedAws) -> SimulatedAws:
    """As an operator hands it over: everything to stable, no faults."""
    running.reset()
    return running


@pytest.fixture
def elbv2(aws: SimulatedAws) -> Any:
    return aws.client("elbv2")


@pytest.fixture
def visits(aws: SimulatedAws) -> Iterator[Visits]:
    with Visits(aws.url) as visits:
        yield visits


@pytest.fixture
def forward(aws: SimulatedAws) -> Callable[..., list[dict[str, Any]]]:
    """Actions that forward to groups by their weights."""

    def made(sticky_s: int | None = None, **weights: int) -> list[dict[str, Any]]:
        groups = [
            {"TargetGroupArn": aws.group_arn(f"checkout-{colour}"), "Weight": weight}
            for colour, weight in weights.items()
        ]
        sticky = {"Enabled": True, "DurationSeconds": sticky_s} if sticky_s else {"Enabled": False}
        return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": sticky}}]

    return made
