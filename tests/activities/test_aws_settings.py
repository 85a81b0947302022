"""The settings of AWS's client, and what it does with them before it is asked: nothing."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from activities.aws import AwsConnection


def test_the_settings_hold_no_secret_and_refuse_one() -> None:
    with pytest.raises(ValidationError) as caught:
        AwsConnection.model_validate({"region": "eu-central-1", "secret_access_key": "very-secret"})
    assert "very-secret" not in str(caught.value)
    with pytest.raises(ValidationError):
        AwsConnection(region="eu-central-1", endpoint_url="https://me:word@aws.test")


def test_what_aws_describes_is_believed_after_ten_seconds() -> None:
    """It publishes no bound; five were too few (argo-rollouts #4595)."""
    told = AwsConnection(region="eu-central-1")
    assert (told.settle.total_seconds(), told.timeout_s) == (10, 3)


def test_nothing_is_opened_before_it_is_asked_for() -> None:
    """A worker without AWS routes must not look for credentials, and one with them must start without AWS."""
    code = (
        "import sys, json; from concurrent.futures import ThreadPoolExecutor as T\n"
        "from activities.aws import *\n"
        "AwsClients(AwsConnection(region='eu-central-1', profile='ghost'), T(1)); print(json.dumps('ok'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == "ok"
