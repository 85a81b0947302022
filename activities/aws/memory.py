"""What AWS answered lately, shared by everybody who asks the same, until somebody writes what it is about.

A look that is under way is as good as a new one, as long as no write ended since it began: so many routes that look at
one listener at the same moment cost one call. A write forgets only looks at what it changes. Were it to forget
everything, every route of a connection that writes would make all others look anew.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

_YOUNG_S = 1.0  # what is in haste joins no look that has taken longer already
_RESOURCES = {  # parameters that name what a call is about; of other services a write forgets everything
    "elbv2": frozenset({"ListenerArn", "RuleArn", "RuleArns", "ResourceArns", "TargetGroupArn"}),
    "lambda": frozenset({"FunctionName"}),
    "ecs": frozenset({"service", "services"}),
}
_TAGS = frozenset({"add_tags", "remove_tags", "describe_tags"})


@dataclass(frozen=True)
class _Look:
    operation: str
    about: frozenset[str]
    began: float
    urgent: bool
    answer: asyncio.Future[Any]


@dataclass
class Memory:
    """Looks at one service.

    Attributes:
        service: as boto3 calls it.
    """

    service: str
    _looks: dict[Hashable, _Look] = field(default_factory=dict)

    async def answer(
        self,
        operation: str,
        request: Json,
        key: Hashable,
        ask: Callable[[], Coroutine[Any, Any, T]],
        *,
        within_s: float,
        urgent: bool,
    ) -> T:
        """Ask, or share an answer that is fresh enough or under way; failures are not remembered.

        Args:
            operation: as boto3 calls it.
            request: its parameters.
            key: the same for who asks the same.
            ask: makes the look.
            within_s: how old an answer may be; 0 for one that is not there yet.
            urgent: joins only what is in haste as well.
        """
        look = self._looks.get(key)
        if look is None or not _good(look, within_s, urgent=urgent):
            answer = asyncio.ensure_future(ask())
            look = _Look(operation, about(self.service, request), time.monotonic(), urgent, answer)
            self._looks[key] = look
            answer.add_done_callback(partial(self._drop_failure, key, look))
        found: T = await asyncio.shield(look.answer)  # others may wait for it when this caller is cancelled
        return found

    def forget(self, operation: str, request: Json) -> None:
        """Forget every look, also one under way, at what a write changes."""
        written = about(self.service, request)
        written |= {listener for arn in written if (listener := _listener_of(arn))}
        for key, look in list(self._looks.items()):
            named = bool(written and look.about)
            if _sees(look.operation, operation) and (not named or written & look.about):
                del self._looks[key]

    def _drop_failure(self, key: Hashable, look: _Look, done: asyncio.Future[Any]) -> None:
        failed = done.cancelled() or done.exception()
        if failed and self._looks.get(key) is look:
            del self._looks[key]


def about(service: str, request: Any) -> frozenset[str]:  # noqa: ANN401 - JSON edge
    """Names of the resources in a request; none if it names none."""
    names = _RESOURCES.get(service, frozenset())
    if isinstance(request, list):
        return frozenset().union(*(about(service, each) for each in request))
    if not isinstance(request, dict):
        return frozenset()
    found = set[str]()
    for key, value in request.items():
        if key in names:
            found |= {str(each) for each in (value if isinstance(value, list) else [value])}
        else:
            found |= about(service, value)
    return frozenset(found)


def _good(look: _Look, within_s: float, *, urgent: bool) -> bool:
    age_s = time.monotonic() - look.began
    if look.answer.done():
        return within_s > 0 and age_s <= within_s
    return not urgent or (look.urgent and age_s <= _YOUNG_S)


def _sees(look: str, write: str) -> bool:
    """Whether a look may show what a write changes: tags are shown by one operation, which shows nothing else."""
    return (look in _TAGS) == (write in _TAGS) or write.startswith(("create_", "delete_"))


def _listener_of(arn: str) -> str | None:
    """The listener of a rule's ARN: what a rule is part of."""
    if ":listener-rule/" not in arn:
        return None
    return arn.replace(":listener-rule/", ":listener/").rpartition("/")[0]
