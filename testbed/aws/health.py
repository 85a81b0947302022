"""Health of targets, found by asking them, with AWS's states and reasons.

Simulated time runs faster: whatever interval the target group has, a target is asked every `EVERY_S`. Addresses are
those of a private network that does not exist; behind each of them is the same port on this machine.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from testbed.processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.aws.account import Account, Target
    from testbed.aws.wire import Params

EVERY_S: Final = 0.25
TIMEOUT_S: Final = 1.0
_SAID: Final = {
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.ResponseCodeMismatch": "Health checks failed with these codes",
    "Target.Timeout": "Request timed out",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
}


@dataclass
class Checked:
    """What the checks of one target have shown.

    Attributes:
        state: `initial`, `healthy` or `unhealthy`.
        reason: why it is not healthy.
        passed: checks passed in a row.
        failed: checks failed in a row.
    """

    state: str = "initial"
    reason: str = "Elb.InitialHealthChecking"
    passed: int = 0
    failed: int = 0

    def saw(self, failure: str | None, healthy_after: int, unhealthy_after: int) -> bool:
        """Take in the outcome of one check; one passed check makes a new target healthy.

        Returns:
            Whether the state changed.
        """
        before = self.state
        self.passed, self.failed = (0, self.failed + 1) if failure else (self.passed + 1, 0)
        if failure and self.failed >= unhealthy_after:
            self.state, self.reason = "unhealthy", failure
        elif not failure and (self.state == "initial" or self.passed >= healthy_after):
            self.state, self.reason = "healthy", ""
        return self.state != before


class Health:
    """Checks the targets of every group that a rule names."""

    def __init__(self, account: Account, changed: Callable[[], None], clock: Callable[[], float]) -> None:
        """Check nothing yet.

        Args:
            account: whose targets.
            changed: called when a target may take traffic that could not, or the other way round.
            clock: seconds, rising.
        """
        self._account = account
        self._changed = changed
        self._clock = clock
        self._checked: dict[tuple[str, Target], Checked] = {}
        self._draining: dict[tuple[str, Target], float] = {}
        self.sick: tuple[str, ...] = ()

    async def run(self) -> None:
        """Check until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http:
            while True:
                await self._round(http)
                await asyncio.sleep(EVERY_S)

    async def _round(self, http: aiohttp.ClientSession) -> None:
        wanted = {
            (arn, target)
            for arn in self._account.groups
            if self._account.balancers_using(arn)
            for target in self._account.targets(arn)
        }
        for key in set(self._checked) - wanted:
            del self._checked[key]
            self._account.kept.health.pop(_key(*key), None)
        now = self._clock()
        self._draining = {key: until for key, until in self._draining.items() if until > now}
        if any(await asyncio.gather(*(self._check(http, *key) for key in wanted))):
            shown = {_key(*key): [checked.state, checked.reason] for key, checked in self._checked.items()}
            self._account.kept.health = shown
            self._account.save()
            self._changed()

    async def _check(self, http: aiohttp.ClientSession, group_arn: str, target: Target) -> bool:
        group = self._account.groups.get(group_arn)
        if group is None:
            return False
        failure = await self._failure(http, group, target)
        checked = self._checked.setdefault((group_arn, target), self._state(group_arn, target))
        return checked.saw(failure, group.get("HealthyThresholdCount", 5), group.get("UnhealthyThresholdCount", 2))

    async def _failure(self, http: aiohttp.ClientSession, group: Params, target: Target) -> str | None:
        address, port = target
        if f"{address}:{port}" in self.sick:
            return "Target.ResponseCodeMismatch"
        try:
            async with http.get(
                f"http://{LOOPBACK}:{port}{group.get('HealthCheckPath') or '/'}", allow_redirects=False
            ) as answer:
                good = matches((group.get("Matcher") or {}).get("HttpCode", "200"), answer.status)
                return None if good else "Target.ResponseCodeMismatch"
        except TimeoutError:
            return "Target.Timeout"
        except aiohttp.ClientError:
            return "Target.FailedHealthChecks"

    def drain(self, group_arn: str, targets: list[Target], delay_s: float) -> None:
        """Targets are about to go: forget their checks; those of a group in use drain for so many seconds."""
        for target in targets:
            self._checked.pop((group_arn, target), None)
            self._account.kept.health.pop(_key(group_arn, target), None)
        if self._account.balancers_using(group_arn):
            until = self._clock() + delay_s
            self._draining.update({(group_arn, target): until for target in targets})

    def live(self, group_arn: str) -> list[Target]:
        """Targets that take traffic: the healthy ones, or else the unhealthy ones (the group fails open)."""
        registered = [(self._state(group_arn, target).state, target) for target in self._account.targets(group_arn)]
        healthy = [target for state, target in registered if state == "healthy"]
        return healthy or [target for state, target in registered if state == "unhealthy"]

    def describe(self, group_arn: str, asked: list[Target] | None, *, lie: bool = False) -> list[Params]:
        """As DescribeTargetHealth shows it.

        Args:
            group_arn: an existing group.
            asked: only these targets; None for all.
            lie: say healthy of every registered one.
        """
        registered = self._account.targets(group_arn)
        now = self._clock()
        draining = [key[1] for key, until in self._draining.items() if key[0] == group_arn and until > now]
        draining = [target for target in draining if target not in registered]
        used = bool(self._account.balancers_using(group_arn))
        shown = []
        for target in registered + draining if asked is None else asked:
            if target in draining:
                state, reason = "draining", "Target.DeregistrationInProgress"
            elif target not in registered:
                state, reason = "unused", "Target.NotRegistered"
            elif lie:
                state, reason = "healthy", ""
            elif not used:
                state, reason = "unused", "Target.NotInUse"
            else:
                checked = self._state(group_arn, target)
                state, reason = checked.state, checked.reason
            health = {"State": state, **({"Reason": reason, "Description": _SAID[reason]} if reason else {})}
            shown.append(
                {
                    "Target": {"Id": target[0], "Port": target[1]},
                    "HealthCheckPort": str(target[1]),
                    "TargetHealth": health,
                }
            )
        return shown

    def _state(self, group_arn: str, target: Target) -> Checked:
        """What is known of a target; after a start what the last gate knew, so that nobody loses traffic by that."""
        if checked := self._checked.get((group_arn, target)):
            return checked
        known = self._account.kept.health.get(_key(group_arn, target))
        return Checked(state=known[0], reason=known[1]) if known else Checked()


def _key(group_arn: str, target: Target) -> str:
    return f"{group_arn} {target[0]}:{target[1]}"


def matches(matcher: str, status: int) -> bool:
    """Whether a status is among `200`, `200,202` or `200-299`."""
    for part in matcher.split(","):
        low, _, high = part.strip().partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False
