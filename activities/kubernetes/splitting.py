"""A split as a cluster's objects write it: a list of destinations with weights, two of which are ours.

What HTTPRoutes and VirtualServices have in common, as values without an API: how much the candidate gets, what speaks
against it, and which weights make another percent of it. Only weights are ever changed, and those of destinations that
are neither candidate nor stable only on the way back, which must leave them nothing.
"""

from typing import NamedTuple

from activities.kubernetes.marks import Mark
from activities.kubernetes.objects import Json
from activities.ports import Pool
from rollout.base import percent_text
from rollout.errors import Drifted, Misconfigured

_PARTS = 10_000  # percents have two decimals
_MOST = 1_000_000  # what the Gateway API takes as one weight


class Share(NamedTuple):
    """One destination.

    Attributes:
        path: where its weight is, as a JSON pointer.
        pool: whose it is; None if it is neither candidate nor stable.
        called: its name.
        weight: what it has, relative to the sum of all.
    """

    path: str
    pool: Pool | None
    called: str
    weight: int


class Split(NamedTuple):
    """All destinations of one rule.

    Attributes:
        where: the rule, in words.
        shares: in their order.
    """

    where: str
    shares: tuple[Share, ...]

    @property
    def total(self) -> int:
        """Sum of all weights."""
        return sum(share.weight for share in self.shares)

    @property
    def percent(self) -> float:
        """Everything that stable does not get; 0 if nobody gets anything."""
        stable = sum(share.weight for share in self.of("stable"))
        return round(100 * (self.total - stable) / self.total, 6) if self.total else 0.0

    def of(self, pool: Pool) -> tuple[Share, ...]:
        """The destinations of a pool: one, unless somebody made a mistake."""
        return tuple(share for share in self.shares if share.pool == pool)

    def misleading(self) -> str | None:
        """Why the percent is not that of the candidate; None if it is."""
        if not self.total:
            return f"{self.where} has no weight above 0: what gets its requests is not defined"
        return self.shared()

    def shared(self) -> str | None:
        """Who else gets something; None if nobody does."""
        others = [f"{share.called} (weight {share.weight})" for share in self.shares if not share.pool and share.weight]
        if not others:
            return None
        return f"{self.where} also sends to {', '.join(others)}, neither candidate nor stable: give it weight 0"

    def unfit(self, names: dict[Pool, str]) -> str | None:
        """Why no weight can be given to one of the pools; None if both can.

        Args:
            names: pool → what it is called.
        """
        for pool, called in names.items():
            found = len(self.of(pool))
            if not found:
                return f"{self.where} does not name {called} ({pool}): add it there, with weight 0"
            if found > 1:
                return f"{self.where} names {called} ({pool}) {found} times: leave one of them"
        return None


def weighed(percent: float, total: int) -> tuple[int, int]:
    """Whole weights of candidate and stable.

    Their sum stays what it is if that makes whole weights; otherwise it is the smallest power of ten that does.

    Args:
        percent: on the candidate, 0 to 100 in steps of 0.01.
        total: sum of the weights now.

    Raises:
        Misconfigured: the percent is none that can be sent.
    """
    parts = round(percent * 100)
    if not 0 <= parts <= _PARTS or abs(percent * 100 - parts) > 1e-6:
        raise Misconfigured(f"{percent} % cannot be sent: 0 to 100 in steps of 0.01 is possible")
    sums = (total, 100, 1000, _PARTS)
    whole = next(each for each in sums if 0 < each <= _MOST and parts * each % _PARTS == 0)
    candidate = parts * whole // _PARTS
    return candidate, whole - candidate


def moved(split: Split, percent: float, names: dict[Pool, str]) -> list[Json]:
    """The JSON patch operations that change weights; none if the percent is there already.

    Args:
        split: as it is.
        percent: wanted on the candidate; 0 overwrites whatever is found.
        names: pool → what it is called.

    Raises:
        Misconfigured: a pool that should get something is not there or there twice, or the percent cannot be sent.
        Drifted: somebody else gets a share; only the way back takes it.
    """
    candidate, stable = weighed(percent, split.total)
    if split.percent == percent and not split.misleading():
        return []
    unfit, shared = split.unfit(names), split.shared()
    if percent and unfit:
        raise Misconfigured(f"{unfit}; nothing was written")
    if percent and shared:
        raise Drifted(f"{shared}; nothing was written")
    if unfit or shared:
        return _back(split, names)
    wanted = {"candidate": candidate, "stable": stable}
    return [_weight(share, wanted[share.pool]) for share in split.shares if share.pool]


def _back(split: Split, names: dict[Pool, str]) -> list[Json]:
    """Everything to stable, whoever else is there."""
    stable = split.of("stable")
    if not stable:
        raise Misconfigured(f"{split.where} does not name {names['stable']} (stable), so nothing can go back to it")
    taken = [_weight(share, 0) for share in split.shares if share.pool != "stable" and share.weight]
    return taken if any(share.weight for share in stable) else [*taken, _weight(stable[0], 100)]


def _weight(share: Share, weight: int) -> Json:
    return {"op": "add", "path": share.path, "value": weight}  # "add" replaces what is there, and need not find it


def strayed(split: Split, mark: Mark) -> str | None:
    """That the split is not what was written last, in words; None if it is, or if nobody holds the route."""
    if not mark.owner or mark.percent is None or mark.percent == split.percent:
        return None
    return f"{split.where} is at {percent_text(split.percent)}, Sluice wrote {percent_text(mark.percent)}"
