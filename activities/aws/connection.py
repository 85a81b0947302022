"""The settings of a connection to AWS."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from rollout.base import Written
from rollout.durations import Duration


class AwsConnection(Written):
    """One region of an AWS account.

    Attributes:
        kind: always "aws".
        region: such as "eu-central-1".
        profile: of the credentials file; by default whatever boto3 finds.
        role_arn: role to assume with those credentials; renewed before it expires.
        external_id: what the role's trust policy asks for besides, if another account's role wants it.
        endpoint_url: another address than AWS's, for all services but STS: an emulator, a private endpoint.
        sts_endpoint_url: the same for STS, which is asked for the role only.
        calls_per_second: pace of reading calls, for each service; the way back has as much again for itself.
        timeout_s: for connecting and for each answer, seconds; also the longest wait for a turn.
        remember: how long what was described is believed without asking again.
        settle: how long after a write to wait until what AWS describes is believed to be in force. AWS publishes no
            bound, and changes were seen to take longer than 5 s.
        healthy_for: targets must be seen healthy twice, this far apart, before traffic rises.
        metrics_lag: how old CloudWatch's minutes must be until they are believed to be complete.
        quiet_for: a pool without a request for so long has drained; whole minutes, as CloudWatch counts by the minute.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["aws"] = "aws"
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")
    profile: str | None = None
    role_arn: str | None = Field(default=None, pattern=r"^arn:[a-z-]+:iam::\d{12}:role/\S+$")
    external_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_+=,.@:/-]+$", min_length=2, max_length=1224)
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    sts_endpoint_url: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")
    calls_per_second: float = Field(default=4, gt=0)
    timeout_s: float = Field(default=3, gt=0)
    remember: Duration = timedelta(seconds=1)
    settle: Duration = timedelta(seconds=10)
    healthy_for: Duration = timedelta(seconds=5)
    metrics_lag: Duration = timedelta(minutes=3)
    quiet_for: Duration = Field(default=timedelta(minutes=2), gt=timedelta(0))

    @model_validator(mode="after")
    def _external_id_is_of_a_role(self) -> Self:
        if self.external_id and not self.role_arn:
            msg = "external_id is sent when a role is assumed: name it as role_arn, or leave external_id out"
            raise ValueError(msg)
        return self
