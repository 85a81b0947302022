"""What is wrong with the service at the moment. All of it is off at first, and gone at once when it is set back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Limit = Literal["global", "route", "ip"]


@dataclass
class Faults:
    """Knobs.

    Attributes:
        status: every REST request is answered so, before anything else is looked at; None: it is not.
        methods: which requests `status` and `slow_s` are for.
        times: how often `status` is given before it ends by itself; None: until it is set back.
        says: what is in the body of `status`; None: LaunchDarkly's own words.
        limit: which limit a 429 is about: the account's and the route's name the end of their window in epoch
            milliseconds, that of an IP address names seconds to wait.
        window_s: for how long a 429 says that it lasts.
        slow_s: seconds before a REST request is looked at.
        slow_after_s: seconds between what a REST request does and its answer.
        garbled: answers are HTML of status 200, as from a captive portal.
        frozen: what SDKs are told is what they were told before, whatever is changed.
        sdk_status: every request of an SDK is answered so.
        before_patch: called before a patch is carried out, after it was checked who asks: somebody else is faster.
    """

    status: int | None = None
    methods: frozenset[str] = frozenset({"GET", "PATCH", "POST"})
    times: int | None = None
    says: str | None = None
    limit: Limit = "route"
    window_s: float = 1.0
    slow_s: float = 0
    slow_after_s: float = 0
    garbled: bool = False
    frozen: bool = False
    sdk_status: int | None = None
    before_patch: Callable[[], None] | None = None

    def due(self, method: str) -> int | None:
        """The status that this request is answered with, if any; counts."""
        if self.status is None or method not in self.methods or self.times == 0:
            return None
        if self.times is not None:
            self.times -= 1
        return self.status

    def headers(self) -> dict[str, str]:
        """The headers of a 429."""
        if self.limit == "ip":
            return {"Retry-After": f"{self.window_s:g}"}
        left = {"X-Ratelimit-Global-Remaining": "0" if self.limit == "global" else "180"}
        if self.limit == "route":
            left["X-Ratelimit-Route-Remaining"] = "0"
        return {**left, "X-Ratelimit-Reset": str(round((time.time() + self.window_s) * 1000))}


CODES = {
    400: ("invalid_request", "Invalid request body"),
    401: ("unauthorized", "Invalid access token"),
    403: ("forbidden", "Access to the requested resource was denied"),
    404: ("not_found", "Invalid resource identifier"),
    405: ("method_not_allowed", "Approval is required to update this flag in this environment"),
    409: ("optimistic_locking_error", "The resource you are updating has changed since you last requested it"),
    422: ("invalid_request", "Unprocessable"),
    429: ("rate_limited", "You've exceeded the API rate limit. Try again later."),
}
"""Status → LaunchDarkly's code and words."""
