"""The role that AWS's client takes on."""

import threading
import time
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from activities.aws import AwsConnection
from activities.aws.session import AwsSession
from rollout.errors import NotPermitted, RouterUnreachable
from tests.activities.fake_aws import SPACE, AsksFakeAws, Clients, FakeAws, answered, refused

ROLE = "arn:aws:iam::123456789012:role/deploy"


def role_of(fake: FakeAws, lives_s: float) -> Callable[[dict[str, str]], tuple[int, str]]:
    def plan(asked: dict[str, str]) -> tuple[int, str]:
        if asked["Action"] != "AssumeRole":
            return 200, answered(asked["Action"])
        number = fake.operations().count("AssumeRole")
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lives_s))
        told = {"AccessKeyId": f"ROLE{number}", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": until}
        inside = "".join(f"<{key}>{value}</{key}>" for key, value in told.items())
        return 200, answered("AssumeRole", f"<Credentials>{inside}</Credentials>").replace(SPACE, "https://sts/")

    return plan


class TestRole(AsksFakeAws):
    async def test_a_role_is_assumed_once_and_signs_the_calls(self, fake: FakeAws, connect: Clients) -> None:
        fake.plan = role_of(fake, lives_s=3600)
        aws = connect(role_arn=ROLE, sts_endpoint_url=fake.url)
        for _ in range(2):
            await aws.call("elbv2", "describe_rules")
        await aws.call("elbv2", "describe_listeners")
        assert fake.operations() == ["AssumeRole", "DescribeRules", "DescribeRules", "DescribeListeners"]
        assert fake.asked[0]["RoleArn"] == ROLE
        assert "Credential=testing/" in fake.asked[0]["Authorization"]
        assert "Credential=ROLE1/" in fake.asked[1]["Authorization"]

    async def test_a_role_that_ends_soon_is_assumed_anew(self, fake: FakeAws, connect: Clients) -> None:
        fake.plan = role_of(fake, lives_s=60)
        aws = connect(role_arn=ROLE, sts_endpoint_url=fake.url)
        for _ in range(2):
            await aws.call("elbv2", "describe_rules")
        assert "Credential=ROLE1/" not in fake.asked[-1]["Authorization"]

    async def test_a_role_that_may_not_be_assumed_is_named(self, fake: FakeAws, connect: Clients) -> None:
        fake.plan = lambda _: (403, refused("AccessDenied", "no").replace(SPACE, "https://sts/"))
        with pytest.raises(NotPermitted, match="sts:AssumeRole"):
            await connect(role_arn=ROLE, sts_endpoint_url=fake.url).call("elbv2", "describe_rules")

    async def test_a_role_that_is_not_given_out_takes_no_longer_than_another_call(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        free = threading.Event()

        def plan(_: dict[str, str]) -> None:
            free.wait(10)

        fake.plan = plan
        with pytest.raises(RouterUnreachable, match=r"ReadTimeout|did not end within 1\.5 s"):
            await connect(role_arn=ROLE, sts_endpoint_url=fake.url, timeout_s=0.5).call("elbv2", "describe_rules")
        free.set()
        assert fake.operations() == ["AssumeRole"]

    async def test_the_role_of_another_account_is_asked_for_with_its_external_id(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        fake.plan = role_of(fake, lives_s=3600)
        await connect(role_arn=ROLE, sts_endpoint_url=fake.url, external_id="of-ours").call("elbv2", "describe_rules")
        assert fake.asked[0]["ExternalId"] == "of-ours"


def test_an_external_id_without_a_role_is_refused() -> None:
    with pytest.raises(ValidationError, match="name it as role_arn"):
        AwsConnection(region="eu-central-1", external_id="of-ours")


@pytest.mark.parametrize(
    ("told", "asked"),
    [({}, "https://sts.eu-central-1.amazonaws.com"), ({"sts_endpoint_url": "https://sts.test"}, "https://sts.test")],
)
def test_the_address_of_the_other_services_is_not_that_of_sts(
    told: dict[str, str], asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    connection = {"region": "eu-central-1", "role_arn": ROLE, "endpoint_url": "https://alb.test", **told}
    session = AwsSession(AwsConnection.model_validate(connection))
    assert session.client("elbv2").meta.endpoint_url == "https://alb.test"
    provider = session._opened().get_component("credential_provider").providers[0]
    assert provider._sts("sts").meta.endpoint_url == asked
