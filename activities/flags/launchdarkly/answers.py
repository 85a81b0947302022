"""What LaunchDarkly's answers mean, in our tree. Only its own `message` is ever repeated, and never with a token in it.

401 and 403 are told without any of its words: a proxy in between may answer those with what it was sent.
"""

import time
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from activities.secret_file import holds
from rollout.errors import (
    Misconfigured,
    NotPermitted,
    RouteRejected,
    RouterUnreachable,
    SluiceError,
    Throttled,
)

_LONGEST_WAIT_S = 60.0
_SHORTEST_WAIT_S = 0.1
_CLOCKS_AGREE_S = 2.0


class Conflict(RouterUnreachable):
    """Somebody else changed it at the same time, or it cannot be changed now; the message is LaunchDarkly's."""


def refusal(status: int, headers: Mapping[str, str], said: str, where: str) -> SluiceError:
    """The error for an answer that is not a success.

    Args:
        status: of the answer.
        headers: of the answer.
        said: LaunchDarkly's message, safe to repeat; empty if there is none.
        where: what was asked of which flag, for the message.
    """
    words = f": {said}" if said else ""
    match status:
        case 401:
            return NotPermitted(f"{where}: LaunchDarkly does not accept the token in token_file; renew it")
        case 403:
            return NotPermitted(
                f"{where}: the token in token_file may not do this; its role needs viewProject, updateOn, "
                f"updateFallthrough and updateFlagCustomProperties on this flag"
            )
        case 404:
            return Misconfigured(f"{where}: LaunchDarkly knows no such flag or project, or the token cannot see it")
        case 405:
            return NotPermitted(
                f"{where}: this environment requires an approval for every change, so Sluice cannot make any{words}; "
                f"let its token bypass approvals, or name another environment"
            )
        case 409:
            return Conflict(f"{where}: LaunchDarkly says that there is a conflict{words}")
        case 429:
            return throttled(headers, where)
        case 400 | 422:
            return RouteRejected(f"{where}: LaunchDarkly refuses it{words}; nothing was written")
    return RouterUnreachable(f"{where}: LaunchDarkly answers with status {status}")


def throttled(headers: Mapping[str, str], where: str) -> Throttled:
    """The error for a 429: limits of the account and of a route name a time, those of an IP address a duration."""
    now_s, waits = time.time(), []
    try:
        if reset := headers.get("X-Ratelimit-Reset"):
            date = headers.get("Date")
            its_s = parsedate_to_datetime(date).timestamp() if date else now_s
            # Its clock where ours is wrong; where both are right, ours is finer than the header's whole seconds.
            waits.append(float(reset) / 1000 - (now_s if abs(now_s - its_s) < _CLOCKS_AGREE_S else its_s))
        if after := headers.get("Retry-After"):
            waits.append(float(after))
    except ValueError:
        pass
    limit = "the route's" if headers.get("X-Ratelimit-Route-Remaining") == "0" else "the account's"
    wait_s = min(max([_SHORTEST_WAIT_S, *waits]) if waits else Throttled.retry_after.total_seconds(), _LONGEST_WAIT_S)
    error = Throttled(f"{where}: {limit} rate limit of LaunchDarkly is used up; it lasts {wait_s:.1f} s more")
    error.retry_after = timedelta(seconds=wait_s)
    return error


def safe_message(answer: Any, token: str) -> str:  # noqa: ANN401 - decoded JSON
    """LaunchDarkly's own words in an answer, as one short line; empty if there are none or they hold the token."""
    said = answer.get("message") if isinstance(answer, dict) else None
    line = " ".join(said.split()) if isinstance(said, str) else ""
    return "" if holds(line, token) else line[:200]
