"""AWS for every adapter: credentials, pace, what was just described, and errors in our tree.

One `AwsClients` for a connection, shared by all its routes: that is what keeps many rollouts that poll one load
balancer below AWS's limits. boto3 blocks, so calls run in threads; it never retries (`total_max_attempts: 1`), because
Temporal and the pace here do. An asynchronous client (aiobotocore) was rejected: it pins botocore to an older one.

Calls of the way back pass all others: they have threads and a pace of their own, so that neither descriptions that
hang nor fifty routes that look hold them up.

Credentials come from where boto3 looks for them (variables, profile, the machine's role), never from the settings.
"""

import asyncio
import json
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from activities.aws.connection import AwsConnection
from activities.aws.errors import named
from activities.aws.memory import Json, Memory
from activities.aws.pace import Pace
from activities.aws.session import AwsSession
from rollout.errors import RouterUnreachable, Throttled

T = TypeVar("T")

_READS = ("describe_", "list_", "get_")
_WEIGHTS = frozenset({"modify_rule", "modify_listener", "update_alias"})
_WEIGHING, _WRITERS, _URGENT = 16, 8, 8  # calls at the same time: that move traffic, that write, that look in haste
_WRITE_WITHIN_S = 0.5  # the longest that a write waits for its turn


class AwsClients:
    """Everything that is asked of one region.

    Attributes:
        connection: its settings.
        memory: what adapters want to know again later, by keys of their own; lost when the worker ends.
    """

    def __init__(self, connection: AwsConnection, threads: ThreadPoolExecutor) -> None:
        """Take the settings and the threads in which boto3 may block; nothing is opened yet."""
        self.connection = connection
        self.memory: dict[Hashable, Any] = {}
        self._threads = threads
        # Of their own: a way back must not queue behind descriptions that hang, nor weights behind tags that do.
        self._weighing = ThreadPoolExecutor(_WEIGHING, "aws-weights")
        self._writers = ThreadPoolExecutor(_WRITERS, "aws-write")
        self._urgent = ThreadPoolExecutor(_URGENT, "aws-urgent")
        self._session = AwsSession(connection)
        self._paces: dict[tuple[str, bool], Pace] = {}
        self._recent: dict[tuple[str, bool], Memory] = {}
        self._locks: dict[Hashable, asyncio.Lock] = {}

    async def call(self, service: str, operation: str, /, *, urgent: bool = False, **request: Any) -> Json:  # noqa: ANN401 - JSON edge
        """One call, sent once.

        A writing call makes forgotten what was remembered of the resources that it names.

        Args:
            service: as boto3 calls it: `elbv2`, `lambda`, `ecs`, `cloudwatch`.
            operation: as boto3 calls it: `modify_rule`.
            urgent: it is for the way back: a look passes all that are not, a write waits for no turn. What moves
                traffic is urgent always.
            request: its parameters, as AWS spells them.

        Raises:
            Throttled: AWS was asked too often, or the turn would come too late.
            NotPermitted: the credentials may not do it; names the IAM action.
            RouterUnreachable: no answer in time. A writing call may have been carried out all the same.
            Misconfigured: AWS refuses; `code_of` tells why.
        """
        reads = operation.startswith(_READS)
        pace = self._paces.setdefault((service, reads), self._pace(service, reads=reads))
        if reads:
            await pace.turn(self.connection.timeout_s, urgent=urgent)
        elif not urgent and operation not in _WEIGHTS:
            await pace.soon(_WRITE_WITHIN_S)
        try:
            ask = partial(self._ask, service, operation, request)
            answer: Json = await self._in_thread(service, operation, ask, self._pool(operation, urgent=urgent))
        except Throttled:
            pace.slower()
            raise
        finally:
            if not reads:
                self._remembered(service).forget(operation, request)
        pace.faster()
        return answer

    async def pages(
        self,
        service: str,
        operation: str,
        /,
        within_s: float = 0,
        *,
        lasting: bool = False,
        urgent: bool = False,
        **request: Any,  # noqa: ANN401 - JSON edge
    ) -> list[Any]:
        """All pages of a reading call, as one list.

        Args:
            service: as in `call`.
            operation: one that AWS gives in pages.
            within_s: an answer not older than this may come from memory; 0 asks anew, or joins who is asking.
            lasting: it is about what no write of ours changes, such as an ARN by its name.
            urgent: as in `call`.
            request: as in `call`.

        Raises:
            SluiceError: as in `call`.
        """
        ask = partial(self._all_pages, service, operation, request, urgent=urgent)
        key = ("pages", operation, _text(request))
        memory = self._remembered(service, lasting=lasting)
        return await memory.answer(operation, request, key, ask, within_s=within_s, urgent=urgent)

    async def recent(
        self,
        service: str,
        operation: str,
        /,
        within_s: float,
        *,
        urgent: bool = False,
        **request: Any,  # noqa: ANN401 - JSON edge
    ) -> Json:
        """The answer to a reading call, from memory if it is not older than so many seconds; else as `call`."""
        ask = partial(self.call, service, operation, urgent=urgent, **request)
        key = ("answer", operation, _text(request))
        return await self._remembered(service).answer(operation, request, key, ask, within_s=within_s, urgent=urgent)

    def forget(self, service: str, *, lasting: bool = False) -> None:
        """Forget every answer of a service, also those that are still under way.

        Args:
            service: as in `call`.
            lasting: those too that writes of ours do not change: a name may have come to stand for something else.
        """
        self._recent.pop((service, False), None)
        if lasting:
            self._recent.pop((service, True), None)

    def alone(self, key: Hashable) -> asyncio.Lock:
        """The lock of a place, against other writers of this worker; AWS itself has none."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def aclose(self) -> None:
        """Close every client."""
        self._session.close()
        self._recent.clear()
        for pool in (self._weighing, self._writers, self._urgent):
            pool.shutdown(wait=False)

    def _pace(self, service: str, *, reads: bool) -> Pace:
        calls = f"{service} calls that {'read' if reads else 'write'} in {self.connection.region}"
        return Pace(calls, self.connection.calls_per_second)

    def _remembered(self, service: str, *, lasting: bool = False) -> Memory:
        return self._recent.setdefault((service, lasting), Memory(service))

    def _pool(self, operation: str, *, urgent: bool) -> ThreadPoolExecutor:
        if operation in _WEIGHTS:
            return self._weighing
        if operation.startswith(_READS):
            return self._urgent if urgent else self._threads
        return self._writers

    async def _all_pages(self, service: str, operation: str, request: Json, *, urgent: bool) -> list[Any]:
        model = partial(self._session.paging, service, operation)
        paging = await self._in_thread(service, operation, model, self._pool(operation, urgent=urgent))
        found: list[Any] = []
        more: Json = {}
        while True:
            answer = await self.call(service, operation, urgent=urgent, **request, **more)
            found += answer.get(paging["result_key"], [])
            token = answer.get(paging["output_token"])
            if not token:
                return found
            more = {paging["input_token"]: token}

    async def _in_thread(self, service: str, operation: str, work: Callable[[], T], threads: ThreadPoolExecutor) -> T:
        api_name = operation.title().replace("_", "")
        longest_s, loop, begun = 3 * self.connection.timeout_s, asyncio.get_running_loop(), asyncio.Event()

        def begin() -> T:
            loop.call_soon_threadsafe(begun.set)
            return work()

        sent = threads.submit(begin)
        doing = asyncio.wrap_future(sent)
        begins: asyncio.Future[bool] = asyncio.ensure_future(begun.wait())
        either: set[asyncio.Future[Any]] = {begins, doing}
        try:
            async with asyncio.timeout(longest_s):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(longest_s):
                return await doing
        except TimeoutError as error:
            end = "was not sent: too many others hang" if sent.cancel() else f"did not end within {longest_s:g} s"
            raise RouterUnreachable(f"{service} {api_name} {end}") from error
        except (BotoCoreError, ClientError) as error:
            raise named(error, service, api_name, self.connection.region) from error
        finally:
            sent.cancel()  # whoever has not begun when nobody waits any more is never sent
            begins.cancel()

    def _ask(self, service: str, operation: str, request: Json) -> Json:
        return dict(getattr(self._session.client(service), operation)(**request))


def _text(request: Json) -> str:
    return json.dumps(request, sort_keys=True, default=str)
