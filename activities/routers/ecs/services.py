"""ECS services as Sluice looks at them, and whether the candidate's can carry a percent: pure functions.

Stable is never scaled, and the candidate only ever up. Nothing here scales it down again: Application Auto Scaling may
have a say that cannot be read without one more permission, a wrong moment costs requests, and after the way back its
tasks are the evidence. An operator who wants them gone sets the desired count to 0 when the rollout has ended.
"""

import math
from typing import Literal

from pydantic import Field

from activities.aws import Json
from rollout.base import Told, percent_text

_OWN_STRATEGIES = ("BLUE_GREEN", "LINEAR", "CANARY")


class Deployment(Told):
    """One of a service's deployments; more than one while its tasks are replaced."""

    status: str = ""
    state: str = Field(default="", alias="rolloutState")
    reason: str = Field(default="", alias="rolloutStateReason")


class Controller(Told):
    """Who deploys a service."""

    type: str = "ECS"


class Configuration(Told):
    """How ECS deploys it."""

    strategy: str = "ROLLING"


class Service(Told):
    """One service, as DescribeServices tells it.

    Attributes:
        name: of the service.
        status: ACTIVE, DRAINING or INACTIVE.
        desired: tasks that it shall have.
        running: tasks that run.
        controller: who deploys it.
        configuration: how ECS deploys it.
        deployments: the primary one, and those that it replaces.
    """

    name: str = Field(alias="serviceName")
    status: str = "ACTIVE"
    desired: int = Field(default=0, alias="desiredCount")
    running: int = Field(default=0, alias="runningCount")
    controller: Controller = Field(default_factory=Controller, alias="deploymentController")
    configuration: Configuration = Field(default_factory=Configuration, alias="deploymentConfiguration")
    deployments: list[Deployment] = Field(default_factory=list)

    @property
    def tasks(self) -> str:
        """`3 of 4 tasks of checkout-green run`."""
        return f"{self.running} of {self.desired} tasks of {self.name} run"

    @property
    def replaced(self) -> bool:
        """Whether its tasks are being replaced by those of another task definition."""
        return len(self.deployments) > 1

    def unusable(self) -> str | None:
        """Why Sluice must not move traffic of this service, whatever the percent, and what to do; None if it may."""
        if self.controller.type != "ECS":
            todo = "give the service the deployment controller ECS"
            return f"service {self.name} is deployed by {self.controller.type}, which moves the rule itself: {todo}"
        if self.configuration.strategy in _OWN_STRATEGIES:
            todo = "set its strategy to ROLLING, or let ECS alone deploy it"
            return f"ECS deploys {self.name} by {self.configuration.strategy} and moves the rule itself: {todo}"
        for deployment in self.deployments:
            if deployment.state == "FAILED":
                todo = "deploy the version that is wanted, then start again"
                return f"the deployment of service {self.name} failed ({deployment.reason or 'no reason told'}): {todo}"
        return None


def services(answer: Json) -> dict[str, Service]:
    """The services that exist, by name, of an answer to DescribeServices."""
    found = [Service.model_validate(_told(each)) for each in answer.get("services", [])]
    return {service.name: service for service in found if service.status == "ACTIVE"}


def needed(percent: float, stable: Service, least: int | None) -> int:
    """Tasks that the candidate needs for a percent: its share of stable's, rounded up.

    Args:
        percent: for the candidate.
        stable: whose desired count is what all the traffic needs.
        least: the route's `min_healthy`; never fewer than 1.
    """
    share = math.ceil(round(percent * stable.desired / 100, 9))  # 8.8 % of 375 is 33, in binary a little more
    return max(share, least or 1)


def next_step(candidate: Service, stable: Service, tasks: int) -> Literal["scale", "wait", "go"]:
    """What comes before traffic may rise to what so many tasks can carry.

    Args:
        candidate: its service.
        stable: its service.
        tasks: that the candidate needs.
    """
    if candidate.replaced or stable.replaced:
        return "wait"
    if candidate.desired < tasks:
        return "scale"
    settled = all(deployment.state in {"COMPLETED", ""} for deployment in candidate.deployments)
    return "go" if candidate.running >= tasks and settled else "wait"


def waiting(candidate: Service, stable: Service, percent: float, tasks: int) -> str:
    """Why traffic does not rise yet."""
    for service in (candidate, stable):
        if service.replaced:
            return f"the tasks of service {service.name} are being replaced by another deployment"
    if candidate.running < tasks:
        return f"{percent_text(percent)} needs {tasks} tasks of {candidate.name}; {candidate.running} of {tasks} run"
    return f"{candidate.tasks}, but ECS has not completed the deployment"


def _told(service: Json) -> Json:
    return {key: value for key, value in service.items() if value is not None}
