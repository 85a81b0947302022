"""AWS: a load balancer's rule, the same with ECS services behind it, and the alias of a Lambda function."""

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rollout.base import Written
from rollout.durations import Duration, limited
from rollout.routes.base import HeaderRoute, TwoNamed

TargetGroup = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$", max_length=32)]
RuleArn = Annotated[str, StringConstraints(pattern=r"^arn:[^ ]+:listener-rule/app/[^ ]+$")]
AwsName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=140)]


class AlbSticky(Written):
    """Users stay on a target group by the load balancer's own cookie (AWSALBTG).

    Those on stable stay there too until their cookie ends, so the candidate's share of requests lags behind the weight.
    Switched off in the write that takes the candidate's weight away.
    """

    ttl: Annotated[Duration, limited(timedelta(seconds=1), timedelta(days=7))] = Field(
        default=timedelta(hours=1), description="how long the cookie holds; not longer than the shortest bake"
    )


class AlbRoute(HeaderRoute):
    """Two weighted target groups in one rule of a load balancer's listener; blue-green and canary alike.

    The target groups are named as `candidate` and `stable`, or as `blue` and `green` with the colour that serves now.
    """

    connects_to: ClassVar[str] = "aws"

    kind: Literal["alb"] = "alb"
    load_balancer: AwsName = Field(description="name of the application load balancer")
    port: int = Field(default=443, ge=1, le=65535, description="port of its listener")
    rule: Literal["default"] | Annotated[int, Field(ge=1, le=50_000)] | RuleArn = Field(
        default="default", description="which rule splits: `default`, a priority, or a rule's ARN"
    )
    candidate: TargetGroup | None = Field(default=None, description="target group of the candidate")
    stable: TargetGroup | None = Field(default=None, description="target group of stable")
    blue: TargetGroup | None = Field(default=None, description="target group of the colour blue")
    green: TargetGroup | None = Field(default=None, description="target group of the colour green")
    active_color: Literal["blue", "green"] | None = Field(
        default=None, description="the colour that serves now; the candidate is the other one"
    )
    sticky: AlbSticky | None = Field(default=None, description="keep users on a target group; default: as it is")
    min_healthy: int | None = Field(
        default=None,
        ge=1,
        description="healthy targets wanted before traffic rises; default: the percent's share of stable's",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_name_them(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        roles = [name for name in ("candidate", "stable") if data.get(name) is not None]
        colours = [name for name in ("blue", "green", "active_color") if data.get(name) is not None]
        if (len(roles), len(colours)) not in {(2, 0), (0, 3)}:
            msg = "name the target groups as `candidate` and `stable`, or as `blue`, `green` and `active_color`"
            raise ValueError(msg)
        return data

    @property
    def candidate_pool(self) -> str:
        """The target group of the candidate."""
        return self.candidate or str(self.blue if self.active_color == "green" else self.green)

    @property
    def stable_pool(self) -> str:
        """The target group of stable."""
        return self.stable or str(self.green if self.active_color == "green" else self.blue)

    @property
    def sticky_users(self) -> bool:
        """Whether a user stays on a target group."""
        return self.sticky is not None

    @property
    def place(self) -> str:
        """Load balancer, port and rule."""
        return f"{self.load_balancer}:{self.port} rule {self.rule}"


class EcsRoute(AlbRoute):
    """Two ECS services, each behind its own target group of one rule.

    Before traffic rises the candidate's service is scaled to what the percent needs; then the rule is moved as for
    `alb`. Services that ECS deploys by itself (canary, linear, blue/green) are refused: then ECS owns the rule.
    """

    kind: Literal["ecs"] = "ecs"  # type: ignore[assignment]  # another member of the union with the same fields
    cluster: AwsName = Field(description="name of the ECS cluster")
    candidate_service: AwsName = Field(description="ECS service of the candidate")
    stable_service: AwsName = Field(description="ECS service of stable")

    @model_validator(mode="after")
    def _two_services(self) -> Self:
        if self.candidate_service == self.stable_service:
            msg = f"candidate and stable are the same service, {self.stable_service}: there is nothing to split"
            raise ValueError(msg)
        return self


class LambdaAliasRoute(TwoNamed):
    """The alias of a Lambda function, weighted between two published versions.

    AWS draws the version for every invocation: there is no forced header, and nobody stays on a version.
    """

    connects_to: ClassVar[str] = "aws"

    kind: Literal["lambda-alias"] = "lambda-alias"
    function: AwsName = Field(description="name of the function")
    alias: AwsName = Field(description="name of the alias that callers use")
    candidate: str = Field(pattern=r"^[1-9][0-9]*$", description="published version of the candidate")
    stable: str = Field(pattern=r"^[1-9][0-9]*$", description="published version of stable")

    @property
    def place(self) -> str:
        """Function and alias."""
        return f"{self.function}:{self.alias}"
