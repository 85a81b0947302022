"""A simulated AWS in one object: moto, the gate, HAProxy, and the resources that the examples' route names.

See the package's docstring for what can be done with it.
"""

from __future__ import annotations

import itertools
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from testbed.aws.building import make_cluster, make_function, make_group, make_network, make_service
from testbed.aws.control import TIMEOUT_S, Control
from testbed.aws.moto import KEY, REGION, client
from testbed.aws.plane import Haproxy
from testbed.aws.processes import Gate, MotoServer
from testbed.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from testbed.part import Part

LOAD_BALANCER: Final = "shop"
LISTENER_PORT: Final = 80
CLUSTER: Final = "shop"
STABLE_TASKS: Final = 2
ALIAS: Final = "live"
HEALTHY_WITHIN_S: Final = 20.0
_FAST: Final = {
    "calls_per_second": 50,
    "remember": "100ms",
    "settle": "300ms",
    "healthy_for": "300ms",
    "metrics_lag": "500ms",
    "quiet_for": "2s",
}


class SimulatedAws(Control):
    """One AWS account with a load balancer in front of two shops; a context manager.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        endpoint_url: For every AWS client.
        region: Of the account.
        environment: For processes that are clients: dummy credentials.
        parts: Its parts in the order of starting.
        load_balancer_arn: Of the load balancer.
        listener_arn: Of its listener.
        default_rule_arn: Of its listener's default rule.
    """

    region: ClassVar[str] = REGION
    load_balancer_arn: str
    listener_arn: str
    default_rule_arn: str

    def __init__(self, directory: Path, *, stable_port: int, candidate_port: int, service: str = "checkout") -> None:
        """Choose every port; nothing is started.

        Args:
            directory: Where configurations, state and logs go; made when missing.
            stable_port: Of the stable shop, behind target group `<service>-blue`.
            candidate_port: Of the candidate shop, behind `<service>-green`.
            service: Name of the service.
        """
        self.service = service
        self.blue, self.green = f"{service}-blue", f"{service}-green"
        self._ports = {self.blue: stable_port, self.green: candidate_port}
        self.moto = MotoServer(directory)
        self.haproxy = Haproxy(directory)
        listener = f"{LOAD_BALANCER}:{LISTENER_PORT}"
        self.gate = Gate(directory, moto=self.moto, haproxy=self.haproxy, listener=listener, furnish=self.furnish)
        self.parts: tuple[Part, ...] = (self.moto, self.haproxy, self.gate)
        self.url = self.haproxy.url
        self.endpoint_url = self.gate.url
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._clients: dict[tuple[str, str], Any] = {}
        self._groups: dict[str, str] = {}
        self._subnets: list[str] = []
        self._vpc = ""
        self._made: set[str] = set()
        self._numbers = itertools.count()
        self._running = ExitStack()

    def start(self) -> Self:
        """Start every part, the last of which makes the resources; on failure nothing is left running.

        Returns:
            Itself.
        """
        with ExitStack() as undo:
            for part in self.parts:
                undo.callback(part.stop)
                part.start()
            self._running = undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop every part."""
        self._running.close()

    def furnish(self) -> None:
        """Make the resources unless they are there, and wait until targets are healthy; the gate's part calls it."""
        if self._groups:
            return
        ec2, elbv2 = self.client("ec2"), self.client("elbv2")
        self._vpc, self._subnets = make_network(ec2, REGION)
        balancer = elbv2.create_load_balancer(Name=LOAD_BALANCER, Subnets=self._subnets)["LoadBalancers"][0]
        self.load_balancer_arn = balancer["LoadBalancerArn"]
        for name, port in self._ports.items():
            self._groups[name] = make_group(elbv2, self._vpc, name, port)
            self.register(name, 1)
        listener = elbv2.create_listener(
            LoadBalancerArn=self.load_balancer_arn,
            Protocol="HTTP",
            Port=LISTENER_PORT,
            DefaultActions=self._actions({self.blue: 1, self.green: 0}),
        )["Listeners"][0]
        self.listener_arn = listener["ListenerArn"]
        (rule,) = elbv2.describe_rules(ListenerArn=self.listener_arn)["Rules"]
        self.default_rule_arn = rule["RuleArn"]
        wait_until(self._healthy, within_s=HEALTHY_WITHIN_S, what="both target groups are healthy")
        self.forget_calls()

    def settings(self, name: str, **more: str | float) -> str:
        """The worker's settings for a connection of that name; credentials come from `environment`.

        Args:
            name: Of the connection.
            more: Fields of the connection; by default the waits that AWS needs are short, as nothing here needs them.
        """
        fields = {"kind": "aws", "region": REGION, "endpoint_url": self.endpoint_url, **_FAST, **more}
        lines = (f"{key} = {json.dumps(value)}" for key, value in fields.items())
        return "\n".join((f"[connections.{name}]", *lines, ""))

    def route(self, connection: str) -> dict[str, Any]:
        """The spec's route of kind `alb` over the listener's default rule."""
        return {
            "kind": "alb",
            "connection": connection,
            "load_balancer": LOAD_BALANCER,
            "port": LISTENER_PORT,
            "stable": self.blue,
            "candidate": self.green,
            "header": {"name": "X-Canary", "candidate": "true", "stable": "false"},
        }

    def ecs_route(self, connection: str) -> dict[str, Any]:
        """The spec's route of kind `ecs`; makes cluster and services: blue with 2 tasks, green with 0."""
        if "ecs" not in self._made:
            self._made.add("ecs")
            self._make_services()
        ecs_only = {"cluster": CLUSTER, "stable_service": self.blue, "candidate_service": self.green}
        return {**self.route(connection), "kind": "ecs", **ecs_only}

    def lambda_route(self, connection: str) -> dict[str, Any]:
        """The spec's route of kind `lambda-alias`; makes the function, its versions 1 and 2, and alias `live` on 1."""
        if "lambda" not in self._made:
            self._made.add("lambda")
            make_function(self.client("iam"), self.client("lambda"), self.service, ALIAS)
        return {
            "kind": "lambda-alias",
            "connection": connection,
            "function": self.service,
            "alias": ALIAS,
            "stable": "1",
            "candidate": "2",
        }

    def reset(self) -> None:
        """Everything to stable, nobody's mark, no added rules, no faults, no calls remembered."""
        self.heal()
        elbv2 = self.client("elbv2")
        direct = self._client("elbv2", self.moto.url)  # a hundred rules one by one through the gate would take seconds
        added = [rule["RuleArn"] for rule in self.rules() if not rule["IsDefault"]]
        for arn in added:
            direct.delete_rule(RuleArn=arn)
        if added:
            self.refresh()
        marked = [self.default_rule_arn, self.listener_arn, self.load_balancer_arn, *self._groups.values()]
        for each in elbv2.describe_tags(ResourceArns=marked)["TagDescriptions"]:
            if each["Tags"]:
                elbv2.remove_tags(ResourceArns=[each["ResourceArn"]], TagKeys=[tag["Key"] for tag in each["Tags"]])
        self.set_weights_by_hand({self.blue: 1, self.green: 0})
        if "lambda" in self._made:
            none: dict[str, Any] = {"AdditionalVersionWeights": {}}
            self.client("lambda").update_alias(
                FunctionName=self.service, Name=ALIAS, FunctionVersion="1", RoutingConfig=none, Description=""
            )
        for name in self._groups:
            if "ecs" in self._made:
                count = STABLE_TASKS if name == self.blue else 0
                self.client("ecs").update_service(cluster=CLUSTER, service=name, desiredCount=count)
            elif len(self._targets(name)) != 1:
                self.register(name, 1)
        self.forget_calls()

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients are made at run time
        """A boto3 client of a service that tries once."""
        return self._client(service, self.endpoint_url)

    def group_arn(self, name: str) -> str:
        """ARN of a target group."""
        return self._groups[name]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule of the listener, the default one last."""
        found = self.client("elbv2").get_paginator("describe_rules").paginate(ListenerArn=self.listener_arn)
        return [rule for page in found for rule in page["Rules"]]

    def states(self, group: str) -> list[str]:
        """What DescribeTargetHealth says of a group's targets."""
        found = self.client("elbv2").describe_target_health(TargetGroupArn=self._groups[group])
        return [each["TargetHealth"]["State"] for each in found["TargetHealthDescriptions"]]

    def set_weights_by_hand(
        self, weights: Mapping[str, int], *, sticky_s: int | None = None, rule_arn: str | None = None
    ) -> None:
        """Write weights as another person would, past every fault.

        Args:
            weights: Target group's name → weight.
            sticky_s: Seconds of stickiness; off by default.
            rule_arn: The default rule by default.

        Raises:
            ValueError: For a rule or a group that does not exist.
        """
        self.write_weights(rule_arn or self.default_rule_arn, weights, sticky_s)

    def register(self, group: str, count: int) -> None:
        """Give a group so many targets, all of them the same shop."""
        elbv2, arn = self.client("elbv2"), self._groups[group]
        network = 1 + list(self._groups).index(group)
        wanted = [{"Id": f"10.0.{network}.{10 + number}", "Port": self._ports[group]} for number in range(count)]
        too_many = [target for target in self._targets(group) if target not in wanted]
        if wanted:
            elbv2.register_targets(TargetGroupArn=arn, Targets=wanted)
        if too_many:
            elbv2.deregister_targets(TargetGroupArn=arn, Targets=too_many)

    def invoke(self, function: str) -> str:
        """Version that answered one invocation.

        Args:
            function: Name, and alias or version: `checkout:live`.
        """
        answer = self.client("lambda").invoke(FunctionName=function)
        return str(answer["ExecutedVersion"])

    def add_load_balancers(self, count: int) -> list[str]:
        """More load balancers, without listeners; ARNs."""
        elbv2 = self._client("elbv2", self.moto.url)
        made = [
            elbv2.create_load_balancer(Name=f"other-{next(self._numbers)}", Subnets=self._subnets)["LoadBalancers"][0]
            for _ in range(count)
        ]
        return [balancer["LoadBalancerArn"] for balancer in made]

    def add_target_groups(self, count: int) -> list[str]:
        """More target groups, without targets; ARNs."""
        elbv2 = self._client("elbv2", self.moto.url)
        arns = [make_group(elbv2, self._vpc, f"other-{next(self._numbers)}", 80) for _ in range(count)]
        self.refresh()
        return arns

    def add_rules(self, count: int, priority: int = 1000) -> list[str]:
        """More rules of the listener, for paths that nobody visits, to stable; ARNs."""
        elbv2 = self._client("elbv2", self.moto.url)
        arns = []
        for number in range(count):
            path = {"Field": "path-pattern", "PathPatternConfig": {"Values": [f"/other-{number}"]}}
            made = elbv2.create_rule(
                ListenerArn=self.listener_arn,
                Priority=priority + number,
                Conditions=[path],
                Actions=self._actions({self.blue: 1}),
            )
            arns.append(made["Rules"][0]["RuleArn"])
        self.refresh()
        return arns

    def _client(self, service: str, endpoint_url: str) -> Any:  # noqa: ANN401 - as above
        key = (service, endpoint_url)
        if key not in self._clients:
            self._clients[key] = client(service, endpoint_url, read_timeout_s=TIMEOUT_S)
        return self._clients[key]

    def _actions(self, weights: Mapping[str, int]) -> list[dict[str, Any]]:
        groups = [{"TargetGroupArn": self._groups[name], "Weight": weight} for name, weight in weights.items()]
        return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]

    def _make_services(self) -> None:
        ecs, elbv2 = self.client("ecs"), self.client("elbv2")
        make_cluster(ecs, CLUSTER, self.service)
        by_hand = {name: self._targets(name) for name in (self.blue, self.green)}
        for name, count in ((self.blue, STABLE_TASKS), (self.green, 0)):
            make_service(
                ecs,
                cluster=CLUSTER,
                name=name,
                family=self.service,
                count=count,
                group_arn=self._groups[name],
                port=self._ports[name],
            )
        both = len(by_hand[self.blue]) + STABLE_TASKS
        wait_until(
            lambda: self.states(self.blue) == ["healthy"] * both,
            within_s=HEALTHY_WITHIN_S,
            what="the tasks of stable are healthy",
        )
        for name, targets in by_hand.items():  # only now: a group without targets answers 503
            elbv2.deregister_targets(TargetGroupArn=self._groups[name], Targets=targets)

    def _targets(self, group: str) -> list[dict[str, Any]]:
        found = self.client("elbv2").describe_target_health(TargetGroupArn=self._groups[group])
        shown = found["TargetHealthDescriptions"]
        return [each["Target"] for each in shown if each["TargetHealth"]["State"] != "draining"]

    def _healthy(self) -> bool:
        return all(self.states(name) == ["healthy"] for name in self._groups)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
