"""moto behind the gate: what was written is kept there, and asked for in decoded form.

Why through boto3 and not bytes passed on: the gate changes parameters and answers of most operations anyway, and boto3
reads both. Only services that the gate knows nothing of are passed on as they are.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from testbed.aws.wire import Params, Refusal

REGION: Final = "eu-west-1"
KEY: Final = "testing"  # identifier and secret in one: nobody looks
READ_TIMEOUT_S: Final = 20.0
_MAKING: Final = Lock()  # sessions are not made for several threads; one for all, as each reads AWS's models anew


def client(service: str, endpoint_url: str, *, read_timeout_s: float = READ_TIMEOUT_S, region: str = REGION) -> Any:  # noqa: ANN401 - boto3's clients are made at run time
    """A boto3 client with dummy credentials that tries once.

    Args:
        service: as boto3 names it.
        endpoint_url: whom to ask.
        read_timeout_s: seconds to wait for an answer.
        region: of the account.
    """
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=2.0,
        read_timeout=read_timeout_s,
        max_pool_connections=32,
        proxies={},
    )
    with _MAKING:
        return _session().client(service, region_name=region, endpoint_url=endpoint_url, config=config)


@cache
def _session() -> Any:  # noqa: ANN401 - as above
    return boto3.session.Session(aws_access_key_id=KEY, aws_secret_access_key=KEY)


class Moto:
    """Calls moto, in threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._threads = ThreadPoolExecutor(8, "moto")
        self._clients: dict[tuple[str, str], Any] = {}

    async def ask(self, service: str, operation: str, params: Params, region: str = REGION) -> Params:
        """Call an operation.

        Returns:
            moto's decoded answer.

        Raises:
            Refusal: moto's own error, or that it does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._ask, service, operation, params, region
        )

    def _ask(self, service: str, operation: str, params: Params, region: str) -> Params:
        key = (service, region)
        if key not in self._clients:
            self._clients[key] = client(service, self.url, region=region)
        try:
            answer: Params = self._clients[key]._make_api_call(operation, params)  # noqa: SLF001 - the one generic call
        except ClientError as error:
            said = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise Refusal(said.get("Code", "InternalFailure"), said.get("Message", ""), status) from error
        except BotoCoreError as error:
            raise Refusal("InternalFailure", f"{type(error).__name__}: {error}", 500) from error
        answer.pop("ResponseMetadata", None)
        return answer

    def close(self) -> None:
        """Wait for no thread."""
        self._threads.shutdown(wait=False)
