"""The resources of the simulated account, made with plain boto3 calls as an operator would make them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any


def make_network(ec2: Any, region: str) -> tuple[str, list[str]]:  # noqa: ANN401 - boto3's clients are made at run time
    """A network with two subnets.

    Returns:
        Ids of the network and of its subnets.
    """
    vpc = str(ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])
    subnets = []
    for zone, block in (("a", "10.0.1.0/24"), ("b", "10.0.2.0/24")):
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{region}{zone}")
        subnets.append(str(made["Subnet"]["SubnetId"]))
    return vpc, subnets


def make_group(elbv2: Any, vpc: str, name: str, port: int) -> str:  # noqa: ANN401 - as above
    """A target group of addresses, checked on /ready, that drains for 2 s; its ARN."""
    made = elbv2.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=port,
        VpcId=vpc,
        TargetType="ip",
        HealthCheckPath="/ready",
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
        Matcher={"HttpCode": "200"},
    )
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "2"}
    elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[delay])
    return arn


def make_cluster(ecs: Any, cluster: str, family: str) -> None:  # noqa: ANN401 - as above
    """A cluster, and a task definition to run in it."""
    ecs.create_cluster(clusterName=cluster)
    container = {"name": "shop", "image": "shop", "memory": 128, "portMappings": [{"containerPort": 80}]}
    ecs.register_task_definition(family=family, containerDefinitions=[container])


def make_service(
    ecs: Any,  # noqa: ANN401 - as above
    *,
    cluster: str,
    name: str,
    family: str,
    count: int,
    group_arn: str,
    port: int,
) -> None:
    """A service of so many tasks behind a target group."""
    balancer = {"targetGroupArn": group_arn, "containerName": "shop", "containerPort": port}
    ecs.create_service(
        cluster=cluster, serviceName=name, taskDefinition=family, desiredCount=count, loadBalancers=[balancer]
    )


def make_function(iam: Any, functions: Any, name: str, alias: str) -> None:  # noqa: ANN401 - as above
    """A function with published versions 1 and 2, and an alias of version 1."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role,
        Handler="shop.handle",
        Code={"ZipFile": _archive("1")},
        Publish=True,
    )
    functions.update_function_code(FunctionName=name, ZipFile=_archive("2"), Publish=True)
    functions.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")


def _archive(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("shop.py", f"VERSION = {text!r}\n")
    return buffer.getvalue()
