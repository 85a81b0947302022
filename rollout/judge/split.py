"""Does the traffic go where the router was told to send it? Asked of the counts, not of the router.

Two findings. A candidate that should get a share of the requests and counts none while stable counts: after m requests
the chance of that is (1 - share)^m, and below one in a million it is a routing failure, not "no errors". And a share of
requests that is provably not the commanded one (the sample-ratio check of experiments): comparisons of such samples
mean nothing, so the rollout is held. The latter tolerates a quarter more or less, because requests come in sessions and
by kept-alive connections, and it is one-sided where a forced header lets people visit the candidate at will.
"""

from dataclasses import dataclass
from math import log, log1p

from rollout.judge import odds
from rollout.judge.evidence import Batch, cap
from rollout.judge.mixture import Mixture

TOLERANCE = 1.25
PHI = 3.0  # requests of one visitor go to the same place
ALPHA = 1e-4
BLACK_HOLE = 1e-6
LESS = (0.1, 0.4, 0.8)  # alternatives, as multiples of the tolerated share
MORE = (0.05, 0.25, 0.6)  # as parts of the way from the tolerated share to 1
CAP = cap(ALPHA)
FIRST, LATER = 0.5, 0.01  # of the mass


@dataclass(frozen=True, slots=True)
class Split:
    """What counts say about the traffic since it was last moved; begun anew with every move.

    Attributes:
        since_ms: when the traffic was last moved, Unix milliseconds; -1 before the first batch.
        less: against "the candidate gets at least 1/1.25 of its share".
        more: against "it gets at most 1.25 of it".
        candidate: requests of the candidate.
        stable: requests of stable.
        missed: requests of stable since the candidate's last one.
    """

    since_ms: int = -1
    less: Mixture = Mixture()
    more: Mixture = Mixture()
    candidate: int = 0
    stable: int = 0
    missed: int = 0


def update(before: Split, batch: Batch, *, since_ms: int, share: float, forced: bool) -> Split:
    """Fold one batch; the first one after a move began before it and is left out.

    Args:
        before: what is known.
        batch: counts of both sides.
        since_ms: when the traffic was last moved, Unix milliseconds.
        share: share of requests sent to the candidate, 0 to 1.
        forced: whether visitors can choose the candidate by a header.
    """
    if before.since_ms != since_ms:
        return Split(since_ms=since_ms)
    less, more = before.less, before.more
    requests = batch.n_c + batch.n_b
    if requests and 0 < share < 1:
        least, most = share / TOLERANCE, share * TOLERANCE
        less = less.after(
            _mass(less), odds.above(requests, batch.n_c, least, tuple([least * part for part in LESS])), PHI, CAP
        )
        if most < 1 and not forced:
            alternatives = tuple([most + (1 - most) * part for part in MORE])
            more = more.after(_mass(more), odds.above(requests, batch.n_c, most, alternatives), PHI, CAP)
    missed = 0 if batch.n_c else before.missed + batch.n_b
    return Split(since_ms, less, more, before.candidate + batch.n_c, before.stable + batch.n_b, missed)


def _mass(bets: Mixture) -> float:
    """Half at once, then a hundredth of what is left: what turns wrong later must be seen as well."""
    return LATER * bets.rest if bets.worth else FIRST


def black_hole(split: Split, share: float) -> str | None:
    """The sentence for a candidate that should count requests and does not; None if nothing of that is proven."""
    if not 0 < share < 1 or split.missed * -log1p(-share) / PHI < -log(BLACK_HOLE):
        return None
    return (
        f"routing: the candidate counts nothing while stable counted {split.missed} requests; "
        f"{100 * share:g} % of the traffic should have reached it"
    )


def unbalanced(split: Split, share: float) -> str | None:
    """The sentence for a split that is provably not the commanded one; None if it may be."""
    if max(split.less.value, split.more.value) < 1 / ALPHA:
        return None
    total = split.candidate + split.stable
    return (
        f"routing: {100 * split.candidate / max(total, 1):.3g} % of {total} counted requests were the candidate's, "
        f"{100 * share:g} % should be: comparisons mean nothing"
    )
