"""What AWS's client calls a failure, and that it never asks twice."""

import threading

import pytest

from activities.aws import code_of
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable, SluiceError, Throttled
from tests.activities.fake_aws import AsksFakeAws, Clients, FakeAws, refused


class TestFailures(AsksFakeAws):
    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, "Throttling", Throttled),
            (400, "ThrottlingException", Throttled),
            (503, "RequestLimitExceeded", Throttled),
            (429, "TooManyRequestsException", Throttled),
            (403, "AccessDenied", NotPermitted),
            (403, "UnauthorizedOperation", NotPermitted),
            (403, "ExpiredToken", NotPermitted),
            (403, "InvalidClientTokenId", NotPermitted),
            (500, "InternalFailure", RouterUnreachable),
            (503, "ServiceUnavailable", RouterUnreachable),
            (404, "RuleNotFound", Misconfigured),
            (400, "ValidationError", Misconfigured),
            (400, "TargetGroupAssociationLimit", Misconfigured),
            (400, "OperationNotPermitted", Misconfigured),
            (400, "InvalidLoadBalancerAction", Misconfigured),
        ],
    )
    async def test_a_refusal_has_the_right_name_and_is_sent_once(
        self, fake: FakeAws, connect: Clients, status: int, code: str, kind: type[SluiceError]
    ) -> None:
        fake.plan = lambda _: (status, refused(code, "because of the moon"))
        with pytest.raises(SluiceError) as caught:
            await connect().call("elbv2", "modify_rule", RuleArn="arn:aws:rule", Actions=[])
        assert type(caught.value) is kind
        assert code_of(caught.value) == code
        assert "elbv2 ModifyRule in eu-central-1" in str(caught.value)
        assert fake.operations() == ["ModifyRule"]
        assert "very-secret" not in str(caught.value)

    async def test_a_missing_permission_is_named_as_iam_names_it(self, fake: FakeAws, connect: Clients) -> None:
        fake.plan = lambda _: (403, refused("AccessDenied", "no"))
        with pytest.raises(NotPermitted, match="elasticloadbalancing:ModifyRule"):
            await connect().call("elbv2", "modify_rule", RuleArn="arn:aws:rule", Actions=[])
        with pytest.raises(NotPermitted, match="cloudwatch:ListMetrics"):
            await connect().call("cloudwatch", "list_metrics")

    async def test_the_sentence_of_aws_is_passed_on(self, fake: FakeAws, connect: Clients) -> None:
        fake.plan = lambda _: (400, refused("TooManyRules", "The maximum number of rules has been reached"))
        with pytest.raises(Misconfigured, match="TooManyRules: The maximum number of rules has been reached"):
            await connect().call("elbv2", "describe_rules")

    async def test_a_parameter_that_boto3_refuses_is_misconfigured_and_never_sent(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        with pytest.raises(Misconfigured, match="RuleArn"):
            await connect().call("elbv2", "modify_rule")
        assert fake.operations() == []

    async def test_an_answer_that_does_not_come_is_unreachable_and_asked_for_once(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        free = threading.Event()

        def plan(_: dict[str, str]) -> None:
            free.wait(10)

        fake.plan = plan
        with pytest.raises(RouterUnreachable, match="ReadTimeout"):
            await connect(timeout_s=0.5).call("elbv2", "describe_rules")
        free.set()
        assert fake.operations() == ["DescribeRules"]

    async def test_a_closed_connection_is_unreachable_and_not_tried_again(
        self, fake: FakeAws, connect: Clients
    ) -> None:
        fake.plan = lambda _: None
        with pytest.raises(RouterUnreachable):
            await connect().call("elbv2", "describe_rules")
        assert fake.operations() == ["DescribeRules"]

    async def test_nobody_listening_is_unreachable(self, connect: Clients) -> None:
        with pytest.raises(RouterUnreachable, match="EndpointConnectionError"):
            await connect(endpoint_url="http://127.0.0.1:1").call("elbv2", "describe_rules")

    async def test_without_credentials_nothing_is_asked(
        self, fake: FakeAws, connect: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(NotPermitted, match="no usable AWS credentials"):
            await connect().call("elbv2", "describe_rules")
        assert fake.operations() == []

    async def test_an_unknown_profile_is_misconfigured(self, connect: Clients) -> None:
        with pytest.raises(Misconfigured, match="ghost"):
            await connect(profile="ghost").call("elbv2", "describe_rules")
