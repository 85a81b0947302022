"""One rule of an application load balancer: read, write, drained. The hands of the `alb` and the `ecs` router.

AWS has no compare-and-set and publishes no bound for when a change is in force. So a write says first in a tag that it
begins, looks whether a newer one did, changes the rule in place (deleting and creating it would answer 503 in between,
aws-load-balancer-controller #4039), looks again, and says in the tag that it ended; and nothing is in force before the
connection's `settle` is over. A look that AWS refuses is never taken for a good one (argo-rollouts #3333).

The way back changes the weights at once, beside its tags, and if AWS describes nothing, from what was described last.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from activities.aws import AwsClients, Json
from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from activities.routers.alb import marks, split_rules, views
from activities.routers.alb.finding import Site, find
from activities.routers.alb.hands import Hands
from activities.routers.alb.health import Health, health, lacking
from activities.routers.alb.marks import Mark
from activities.routers.alb.memory import Memory
from activities.routers.alb.requests import requests
from activities.routers.alb.views import Wanted
from rollout.errors import (
    Drifted,
    Misconfigured,
    NotPermitted,
    NotReady,
    RouteOwned,
    RouterUnreachable,
    SluiceError,
    Superseded,
    Throttled,
)
from rollout.routes import AlbRoute

_HASTE_S = 1.0  # the most that one look may cost the way back
_SKEW_S = 60.0  # how wrong the clock of another worker may be
_TRIES = 3  # at a priority that somebody else takes, or at a rule that somebody else changes


class AlbRouter:
    """One rule with two weighted target groups."""

    def __init__(self, route: AlbRoute, aws: AwsClients) -> None:
        """Take the route and the clients of its connection, which all routes of it share."""
        self._route, self._aws = route, aws
        self._place = (route.load_balancer, route.port, route.rule)
        self._hands, self._memory = Hands(route, aws), Memory(aws, self._place)

    async def read(self) -> RouteState:
        """See `ports.Router.read`; believes what was described up to the connection's `remember` ago.

        Targets of a group that no rule names count as healthy: AWS checks them only once one does, and a write that
        raises traffic makes sure of it first.
        """
        site = await self._find(self._aws.connection.remember.total_seconds())
        healths = await asyncio.gather(*(health(self._aws, arn) for arn in site.groups.values()))
        healthy = {
            pool: found.fit + (0 if site.referred(arn) else found.unchecked)
            for (pool, arn), found in zip(site.groups.items(), healths, strict=True)
        }
        mark, percent = site.done, views.percent(site)
        wrong, unsettled = views.wrong(site, self._route), self._unsettled(site)
        if (late := self._memory.older_under_way(mark.epoch)) is not None and not wrong:
            wrong = f"the older write of epoch {late} is still under way and may change it yet"
        unfit = unsettled if mark.owner else views.unfit(site, self._route)
        in_force = not wrong and not unsettled
        return RouteState(
            percent=percent,
            in_force=percent if in_force else None,
            epoch=mark.epoch,
            owner=site.owner,
            forced=views.has_forced(site),
            healthy=healthy,
            finest=0.1,  # weights go up to 999
            proves_after_s=(self._aws.connection.settle + self._aws.connection.remember).total_seconds(),
            drains_after_s=(self._aws.connection.quiet_for + self._aws.connection.metrics_lag).total_seconds(),
            problem=wrong or unfit,
            proof=views.proof(site, healthy) + self._memory.unseen(mark.epoch) if in_force else "",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`. Once it has begun to write it finishes, even if the caller is cancelled.

        Raises:
            NotReady: too few of the candidate's targets are healthy to take more traffic.
            Drifted: somebody else changed the rule at the same time.
        """
        try:
            if write.percent > 0:
                await self._fit_to_rise(write)
            await finished(self._write(write))
        except Superseded:
            if self._memory.raised(write.epoch):  # an earlier attempt may have been carried out since
                await finished(self._give_way(write.epoch))
            raise

    async def in_flight(self, pool: Pool) -> int:
        """Requests that arrived lately and targets that drain, as `requests` counts; 0 for a pool that is gone."""
        site = await self._find(self._aws.connection.remember.total_seconds())
        group = site.groups.get(pool)
        if group is None:
            return 0
        settled = site.done.at + self._aws.connection.settle.total_seconds() if site.done.epoch else 0
        found = await health(self._aws, group)
        return found.draining + await requests(self._aws, site.load_balancer, group, settled)

    async def _find(self, within_s: float = 0, *, urgent: bool = False) -> Site:
        site = await find(self._aws, self._route, within_s, urgent=urgent)
        self._memory.seen(site)
        return site

    async def _fit_to_rise(self, write: Write) -> None:
        """Raise if the candidate's share rises and it cannot carry it; looks only, so it may be cancelled."""
        site = await self._find()
        self._refuse(site, write)
        if write.percent <= views.percent(site):
            return
        candidate, stable = site.groups["candidate"], site.groups.get("stable")
        name = f"{self._route}: target group {self._route.candidate_pool}"
        if not site.referred(candidate):
            await finished(self._refer(write))
            raise NotReady(f"{name} was in no rule, so AWS did not check its targets; it is now, with weight 0")
        for look in range(2):
            await asyncio.sleep(look * self._aws.connection.healthy_for.total_seconds())
            asked = [health(self._aws, arn, fresh=True) for arn in (candidate, stable) if arn]
            found: list[Health] = await asyncio.gather(*asked)
            stables = found[1] if stable else None
            if lack := lacking(found[0], stables, write.percent, self._route.min_healthy):
                raise NotReady(f"{name} is not ready: {lack}; nothing was written")

    async def _refer(self, write: Write) -> None:
        async with self._aws.alone(self._place):
            site = await self._find()
            self._refuse(site, write)
            sticky = split_rules.stickiness(site.actions)
            await self._hands.actions(site, split_rules.split(site.actions, site.groups, 0, sticky, refer=True))

    @asynccontextmanager
    async def _turn(self, write: Write) -> AsyncIterator[None]:
        """Wait for other writers of this worker. The way back waits a second: it is fenced by its mark as well."""
        lock, held = self._aws.alone(self._place), False
        with suppress(TimeoutError):
            async with asyncio.timeout(_HASTE_S if write.percent == 0 else None):
                held = await lock.acquire()
        try:
            with self._memory.writing(write.epoch):
                yield
        finally:
            if held:
                lock.release()

    async def _write(self, write: Write) -> None:
        async with self._turn(write):
            site, blind = await self._looked(write)
            self._refuse(site, write)
            header = write.header and not write.release and self._route.header is not None
            mark = marks.mark_of(write, header=header)
            wanted = views.wanted(site, self._route, mark, refer=header)
            if not blind and _is_there(site, mark, wanted):
                return
            if write.percent == 0 and (write.release or blind or not header or views.percent(site) > 0):
                await self._bring_back(site, write, mark, wanted, blind=blind)
                await self._finish(site, mark)
            else:
                await self._move(site, write, mark, wanted)
                await self._finish(site, mark)
                with suppress(RouterUnreachable):  # only a look; the proof comes later
                    after = await self._find()
                    self._refuse_changed(after, f"when epoch {mark.epoch} was written", wanted.actions, site.actions)

    async def _looked(self, write: Write) -> tuple[Site, bool]:
        """The site as it is; on the way back, if AWS does not tell in time, as it was last, and that it is so."""
        if write.percent > 0:
            return await self._find(), False
        try:
            async with asyncio.timeout(_HASTE_S):
                # One look for many routes of a load balancer: its second look, after its mark, is a new one.
                return await self._find(self._aws.connection.remember.total_seconds(), urgent=True), False
        except (RouterUnreachable, NotPermitted, TimeoutError) as error:
            if (known := self._memory.known(write)) is not None:
                return known, True
            if isinstance(error, SluiceError):
                raise
        return await self._find(urgent=True), False  # slow, and the only way

    async def _glance(self) -> Site | None:
        """The site if AWS tells soon; only a look, the proof comes later."""
        with suppress(NotPermitted, RouterUnreachable, TimeoutError):
            async with asyncio.timeout(_HASTE_S):
                return await self._find(urgent=True)
        return None

    def _refuse(self, site: Site, write: Write) -> None:
        """Raise if this write must not be made here."""
        route, newest = self._route, site.marks[0] if site.marks else Mark()
        fence(route, newest.epoch, newest.owner, write)
        leaving = write.release or write.percent == 0
        names: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}
        gets: dict[Pool, bool] = {"candidate": write.percent > 0, "stable": write.percent < 100}
        for pool, name in names.items():
            if pool not in site.groups and (gets[pool] or not leaving):
                raise Misconfigured(f"{route}: AWS knows no target group {name} for the {pool}; nothing was written")
        if not leaving and (reason := views.unfit(site, route)):
            raise Misconfigured(f"{route}: {reason}; nothing was written")

    def _refuse_changed(self, site: Site, when: str, *expected: list[Json]) -> None:
        if not any(split_rules.same(site.actions, each) for each in expected):
            found = views.weights_text(site.actions)
            raise Drifted(f"{self._route}: somebody else changed the rule to {found} {when}{site.suspect()}")

    async def _move(self, site: Site, write: Write, mark: Mark, wanted: Wanted) -> None:
        made: list[Json] = []
        try:
            await self._hands.tag(site, mark.begun(write.owner, time.time()))
            seen = await self._find()
            self._refuse(seen, write)  # a newer write has begun meanwhile, and its mark is beside ours
            self._refuse_changed(seen, "just now; nothing was written", site.actions)
            await self._hands.forced(seen, wanted.forced, write.owner, made)
            if not split_rules.same(seen.actions, wanted.actions):
                await self._weigh(seen, mark, wanted.actions)
        except (Drifted, Misconfigured, NotPermitted, RouteOwned, Superseded, Throttled):  # surely not carried out
            await self._hands.undo(site, mark, made)
            raise

    async def _weigh(self, site: Site, mark: Mark, actions: list[Json]) -> None:
        """Set weights, and look who wrote in the meantime: AWS may carry out a call long after it was sent."""
        self._memory.raises(mark.epoch)
        unknown: RouterUnreachable | None = None
        try:
            await self._hands.actions(site, actions)
        except RouterUnreachable as error:
            if isinstance(error, Throttled):
                raise
            unknown = error
        try:
            await self._give_way(mark.epoch)
        except (NotPermitted, Throttled) as error:  # the weights were written all the same
            raise RouterUnreachable(f"{self._route}: the weights were written, but not looked at: {error}") from error
        finally:
            if unknown:  # whatever was seen now, it may be carried out yet
                self._memory.lost(mark.epoch)
                self._memory.raises(mark.epoch)
        if unknown:
            raise unknown

    async def _give_way(self, epoch: int) -> None:
        """If a newer write than this one is there, put back at once what this one may have changed of it.

        Raises:
            Superseded: there is one.
        """
        newer: Mark | None = None
        for _ in range(_TRIES):
            self._aws.forget("elbv2")  # not even a look that is under way: it may be older than what was just written
            site = await self._find(urgent=True)
            if not site.marks or site.marks[0].epoch <= epoch:
                break
            # A raise that only began is not helped: its own writer makes sure that it may rise.
            newer = site.marks[0]
            meant = newer if newer.done or newer.percent == 0 else site.done
            actions = views.wanted(site, self._route, meant, refer=False).actions
            if split_rules.traffic(site.actions) == split_rules.traffic(actions):
                break
            await self._hands.actions(site, actions)
        self._memory.looked()
        if newer:
            raise Superseded(f"{self._route} carries epoch {newer.epoch}: epoch {epoch} was too late, and gave way")

    async def _bring_back(self, site: Site, write: Write, mark: Mark, wanted: Wanted, *, blind: bool) -> None:
        moves = blind or not split_rules.same(site.actions, wanted.actions)
        seen: Site | None = site
        if moves or not _has_begun(site, mark):
            # The weights come first; what fails about the tag fails again at the end.
            first = [self._hands.actions(site, wanted.actions)] if moves else []
            tag = self._hands.tag(site, mark.begun(write.owner, time.time()), back=True)
            *moved, _ = await asyncio.gather(*first, tag, return_exceptions=True)
            for failure in moved:
                if isinstance(failure, RouterUnreachable) and not isinstance(failure, Throttled):
                    self._memory.lost(mark.epoch)
                if isinstance(failure, BaseException):
                    raise failure
            if blind:
                self._memory.wrote_unseen(mark.epoch)
            seen = await self._back_again(write, mark)
        await self._hands.forced(seen or site, wanted.forced, write.owner, [])
        if seen is None:  # then forced rules that nobody remembers may be left, and only another attempt finds them
            raise RouterUnreachable(f"{self._route}: the weights were written, but AWS does not describe the rule")

    async def _back_again(self, write: Write, mark: Mark) -> Site | None:
        """Look whether it is back, and put it back again if somebody changed it at the same time; None if unseen."""
        seen: Site | None = None
        for _ in range(_TRIES):
            seen = await self._glance()
            if seen is None:
                return None
            if seen.marks and seen.marks[0].epoch > mark.epoch:
                await self._give_way(mark.epoch)
            self._refuse(seen, write)
            again = views.wanted(seen, self._route, mark, refer=False)
            if split_rules.traffic(seen.actions) == split_rules.traffic(again.actions):
                break
            await self._hands.actions(seen, again.actions)
        return seen

    async def _finish(self, site: Site, mark: Mark) -> None:
        done = mark.model_copy(update={"at": round(time.time(), 3)})
        await self._hands.tag(site, done, back=mark.percent == 0)
        self._memory.settles(site.marked, (done.epoch, done.at), time.monotonic())
        await self._hands.forget_older(site, mark)

    def _unsettled(self, site: Site) -> str | None:
        """Why what is described may not be in force yet; None if it is believed to be."""
        left_s = self._settling_s(site)
        if left_s <= 0:
            return None
        return f"written, and believed to be in force in {left_s:.1f} s: AWS does not say when it is"

    def _settling_s(self, site: Site) -> float:
        """Seconds until the last write is believed to be in force; none are left at 0 and below."""
        mark, settle = site.done, self._aws.connection.settle + self._aws.connection.remember
        if not mark.epoch or time.time() - mark.at > settle.total_seconds() + _SKEW_S:
            return 0
        since = self._memory.settles_since(site.marked, (mark.epoch, mark.at))
        return float(settle.total_seconds() - (time.monotonic() - since))


def _is_there(site: Site, mark: Mark, wanted: Wanted) -> bool:
    """Whether a write was made already, to its end, and nothing was changed since."""
    return (
        mark.model_copy(update={"at": site.done.at}) == site.done
        and site.marks[0].epoch == mark.epoch
        and split_rules.same(site.actions, wanted.actions)
        and all(views.standing(site, each) for each in wanted.forced)
        and len(site.forced) == len(wanted.forced)
    )


def _has_begun(site: Site, mark: Mark) -> bool:
    """Whether the tag of a way back is there: then it need not be written again to be seen by others."""
    return bool(site.marks) and site.marks[0].epoch == mark.epoch and site.marks[0].percent == mark.percent
