"""Whether what an SDK gives is what is written: pure, from one look at the SDK.

Three things must agree: the SDK's version is not older than the written one, the configuration that it holds is the
written one, and what it gives a fixed set of keys fits. The last one catches what the others cannot: an evaluator that
is broken.
"""

from typing import NamedTuple

from activities.flags.launchdarkly.shape import WHOLE, Flag
from activities.probing import plausible, probes
from rollout.base import percent_text

PROBES = probes(200)
_BY_HAND = frozenset({"RULE_MATCH", "TARGET_MATCH"})


class Seen(NamedTuple):
    """What an SDK holds and gives.

    Attributes:
        version: of the configuration.
        on: whether it is switched on.
        off: index of the variation that off serves.
        shares: of the fallthrough, by index of the variation; fewer than variations if the last ones have none.
        given: reason and index of the variation, of every probe key.
    """

    version: int
    on: bool
    off: int | None
    shares: tuple[int, ...]
    given: tuple[tuple[str, int | None], ...]


def doubt(flag: Flag, seen: Seen) -> str | None:
    """Why what is written is not in force in an SDK, as a sentence; None if it is.

    Args:
        flag: what is written.
        seen: the SDK.
    """
    if seen.version < flag.config_version:
        return (
            f"the SDK still has version {seen.version}, LaunchDarkly has {flag.config_version}"
            f" (is sdk_key_file of this environment?)"
        )
    held = (seen.on, seen.off, _padded(seen.shares, len(flag.shares)))
    shares = flag.shares if flag.on else held[2]  # while it is off, nobody is given any
    if held != (flag.on, flag.off, shares):
        return (
            f"the SDK's version {seen.version} is not what is written: it has {_told(*held)}, written is "
            f"{_told(flag.on, flag.off, flag.shares)}"
        )
    return _given_wrong(flag, seen)


def _given_wrong(flag: Flag, seen: Seen) -> str | None:
    """Why what the probe keys were given does not fit the configuration."""
    reasons = {reason for reason, _ in seen.given}
    # Rules and targets are other people's business: the percent is that of everybody else.
    left = [(reason, index) for reason, index in seen.given if reason not in _BY_HAND]
    if "ERROR" in reasons:
        return "the SDK cannot evaluate the flag: applications get what their code has as default"
    if not left:
        return "rules or targets catch every probe key: what everybody else is given cannot be evaluated"
    candidates = sum(1 for _, index in left if index == flag.candidate and index is not None)
    if flag.on and flag.percent and "PREREQUISITE_FAILED" in reasons:
        return "a prerequisite flag is not met: the SDK gives everybody the off variation"
    wanted = {"FALLTHROUGH", "PREREQUISITE_FAILED"} if flag.on else {"OFF"}
    if strange := reasons - _BY_HAND - wanted:
        return f"the SDK gives the flag for another reason than it should: {', '.join(sorted(strange))}"
    if candidates not in plausible(flag.percent, len(left)):
        return (
            f"the SDK gives the candidate to {candidates} of {len(left)} probe keys; at {percent_text(flag.percent)} "
            f"that cannot be"
        )
    return None


def _padded(shares: tuple[int, ...], length: int) -> tuple[int, ...]:
    return shares + (0,) * (length - len(shares))


def _told(on: bool, off: int | None, shares: tuple[int, ...]) -> str:  # noqa: FBT001 - one of three parts of a value
    switch = "on" if on else f"off (variation {off})"
    return f"{switch}, " + "/".join(f"{each * 100 / WHOLE:g}" for each in shares) + " %"
