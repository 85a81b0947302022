"""Did the users of an experiment fall to its two sides as they should? Asked of users, one count each.

`split.py` asks the same of requests, and must tolerate a quarter more or less: requests come in sessions and over
kept-alive connections, so their split is rough even where everything works. A flag puts every user on a side by a hash
of the key: users are independent, their split is exact, and half a point too few of a million of them is a fault (a
filter that drops one side's bots, a redirect that loses visitors, events that are lost while the page crashes). Whoever
is missing is not missing by chance, so such samples cannot be compared: the experiment is held, not corrected.

Null hypothesis: every user who is counted is the candidate's with probability π, the commanded share, whatever came
before. With n_c and n_b users, and Beta(k·π, k·(1 - π)) for what the share might be instead,

    E = B(n_c + k·π, n_b + k·(1 - π)) / [ B(k·π, k·(1 - π)) · π^n_c · (1 - π)^n_b ]

is an e-process (Lindon and Malek, NeurIPS 2022, arXiv 2011.03567; Robbins 1970): the chance that it ever reaches 1/α
is at most α, however often one looks, and it needs the totals only. k is how sure the bet is to be near π. Nobody knows
how large a fault is, so the mean of several k is taken, which is an e-process too. k·π·(1 - π) is what a bet claims to
know of the log-odds: 100 are faults of 10 % of the odds, a million of 0.1 %.

Refused: a tolerance (a hash has none), φ (count users, not their visits), a p-value (right for one look only).
Zeros: without users, and where a share of 0 or 1 leaves nothing to split, E is 1. Ties: none.
"""

from math import exp, fsum, lgamma, log, log1p

from pydantic import Field

from rollout.base import Told
from rollout.judge.mixture import MOST, NO_CAP

ALPHA = 1e-4
"""Chance that an experiment whose split is right is ever held for it."""

BETS = (1e2, 1e4, 1e6)
"""What each bet claims to know of the share: the inverse variance of its log-odds."""


class SampleRatio(Told):
    """How the users of an experiment fell to its sides.

    Attributes:
        candidate: users who got the candidate.
        stable: users who got stable.
        share: share of users who should get the candidate, 0 to 1.
        evidence: e-value against "this is how users fall", 0 to 1e300; 1 where nothing was seen.
        counted: what is counted, for people.
        once_wrong: the sentence with which it was provably wrong at an earlier look; that is never taken back.
    """

    candidate: int = Field(ge=0)
    stable: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    evidence: float = Field(ge=0)
    counted: str = "users"
    once_wrong: str | None = None

    @property
    def wrong(self) -> bool:
        """Whether the split is provably not the commanded one: hold, and believe no comparison.

        Whoever asks again and again keeps a first yes: the promise is about ever reaching 1/α.
        """
        return self.once_wrong is not None or self.evidence * ALPHA >= 1

    @property
    def sentence(self) -> str:
        """For people: `sample ratio: 48.1 % of 20 113 users got the candidate, 50 % should: comparisons mean …`."""
        users = self.candidate + self.stable
        if not users:
            return f"sample ratio: no {self.counted} were counted yet"
        answer = "comparisons mean nothing" if self.wrong else "no more than chance"
        return (
            f"sample ratio: {100 * self.candidate / users:.3g} % of {grouped(users)} {self.counted} got the candidate, "
            f"{100 * self.share:.3g} % should: {answer}"
        )


def sample_ratio(candidate: int, stable: int, share: float, *, counted: str = "users") -> SampleRatio:
    """Ask it of the totals since the experiment began.

    Args:
        candidate: users who got the candidate, each counted once, 0 or more.
        stable: users who got stable.
        share: share of users who should get the candidate, 0 to 1; the same for the whole experiment.
        counted: what is counted, for people; whatever it is, it must be split one by one.
    """
    evidence = 1.0
    if 0 < share < 1:
        found = log_bets(candidate, stable, share, BETS)
        found -= candidate * log(share) + stable * log1p(-share)
        evidence = exp(found) if found < NO_CAP else MOST
    return SampleRatio(candidate=candidate, stable=stable, share=share, evidence=evidence, counted=counted)


def log_bets(candidate: float, stable: float, share: float, bets: tuple[float, ...]) -> float:
    """Logarithm of how likely one order of sides is to several bets near a share, on average: the top of E.

    Args:
        candidate: how many were the candidate's; fractions are what is left of events that came in clusters.
        stable: how many were stable's.
        share: π, between 0 and 1; far below 0.01 % there are no digits left for a bet of a million.
        bets: what each bet claims to know, k·π·(1 - π), above 0.
    """
    logs = []
    for known in bets:
        ours, theirs = known / (1 - share), known / share  # k·π and k·(1 - π)
        logs.append(_log_beta(candidate + ours, stable + theirs) - _log_beta(ours, theirs))
    most = max(logs)
    return most + log(fsum([exp(value - most) for value in logs]) / len(logs))


def grouped(count: int) -> str:
    """A count as people read it: `20 113`."""
    return f"{count:,}".replace(",", " ")


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
