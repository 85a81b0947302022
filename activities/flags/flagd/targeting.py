"""What flagd's targeting says about a percent, and what a write makes of it. Pure.

The percent is a `fractional`: it stands alone, or where nobody's rule has caught the user, in the last `else` of the
`if`s around it. Rules are never changed; a targeting in which that place cannot be found is not written to, except by
the switch. Weights always add up to 10 000, whatever was there: a user's place between 0 and 1 is a hash, so users stay
as long as the order of the variants does, and it does.

The switch is an `if` around everything, `{"if": [false, <the targeting>, "off"]}`. It needs no default variant, reaches
users without a targeting key and those whom a rule catches, and a person sees what is in it: taking the `if` away turns
the feature on again. Rejected: `state: DISABLED`, which gives applications the default in their own code, perhaps "on";
and taking the targeting out, which leaves it nowhere to be found.
"""

from typing import Any

from rollout.base import Told

Json = dict[str, Any]

TOTAL = 10_000
FINEST = 100 / TOTAL


class NoPlaceError(Exception):
    """A targeting has no place for a percent; the message says why."""


class Variants(Told):
    """The variants that matter, and what a flag has.

    Attributes:
        candidate: given to those who see the feature.
        stable: given to everybody else.
        known: all that the flag has.
        default: given where the targeting has no answer; None: the application's own default.
        bucket_by: field of the context that decides; None: as it is there.
    """

    candidate: str
    stable: str
    known: tuple[str, ...]
    default: str | None
    bucket_by: str | None = None


def inside(targeting: object, variants: Variants) -> tuple[bool, object]:
    """Whether a targeting is switched on, and the targeting without the switch."""
    match targeting:
        case {"if": [False, within, *otherwise], **more} if not more:
            given = otherwise[0] if otherwise else None
            if len(otherwise) <= 1 and (variants.default if given is None else given) == variants.stable:
                return False, within
    return True, targeting


def switched_off(targeting: object, variants: Variants) -> Json:
    """A targeting that gives everybody stable's variant, with what was there inside."""
    return {"if": [False, targeting or None, variants.stable]}


def share(logic: object, variants: Variants) -> float:
    """Percent of users who are given the candidate and whom no rule catches.

    Raises:
        NoPlaceError: that cannot be told.
    """
    match logic or None:
        case None | str():
            given = logic if isinstance(logic, str) else variants.default
            if given not in {variants.candidate, variants.stable}:
                raise NoPlaceError(f"whom no rule catches is given {given!r}, which is neither candidate nor stable")
            return 100.0 if given == variants.candidate else 0.0
        case {"fractional": list(arguments), **more} if not more:
            _, weights = _split(arguments, variants)
            return 100 * weights.get(variants.candidate, 0) / sum(weights.values())
        case {"if": list(branches), **more} if not more:
            return share(branches[-1] if len(branches) % 2 else None, variants)
        case _:
            raise NoPlaceError(f"it has no place for a percent: {_outline(logic)} is neither `if` nor `fractional`")


def placed(logic: object, percent: float, variants: Variants) -> Json:
    """The same targeting with another percent; never a plain string, which no targeting may be.

    Args:
        logic: the targeting without the switch.
        percent: on the grid of 0.01.
        variants: what it may give.

    Raises:
        NoPlaceError: it has no place for a percent, or users would be drawn anew.
    """
    match logic:
        case {"if": list(branches), **more} if not more:
            rules, last = (branches[:-1], branches[-1]) if len(branches) % 2 else (branches, None)
            return {"if": [*rules, placed(last, percent, variants)]}
        case {"fractional": list(arguments), **more} if not more:
            bucket, weights = _split(arguments, variants)
            now = 100 * weights.get(variants.candidate, 0) / sum(weights.values())
            wanted = bucket if variants.bucket_by is None else {"var": variants.bucket_by}
            if bucket != wanted and 0 < now < 100 and percent:
                raise NoPlaceError(
                    f"its `fractional` goes by {_outline(bucket)}, the spec by {_outline(wanted)}: users who have the "
                    f"feature would lose it; go back to 0 % first"
                )
            return _fractional(bucket if now and not percent else wanted, weights, percent, variants)
        case _:
            share(logic, variants)
            wanted = None if variants.bucket_by is None else {"var": variants.bucket_by}
            return _fractional(wanted, {}, percent, variants)


def weight_of(percent: float) -> int | None:
    """Weight of the candidate for a percent; None if it is finer than a file can say."""
    weight = round(percent * TOTAL / 100)
    return weight if abs(weight - percent * TOTAL / 100) < 1e-6 else None


def _fractional(bucket: object, weights: dict[str, int], percent: float, variants: Variants) -> Json:
    weight = weight_of(percent)
    if percent and variants.candidate not in variants.known:
        raise NoPlaceError(f"there is no variant {variants.candidate!r}")
    if weight is None:
        raise NoPlaceError(f"{percent:g} % is finer than {FINEST:g} %")
    fresh = dict.fromkeys([*weights, variants.candidate, variants.stable], 0)
    fresh |= {variants.candidate: weight, variants.stable: TOTAL - weight}
    entries = [[name, each] for name, each in fresh.items() if name in variants.known]
    return {"fractional": entries if bucket is None else [bucket, *entries]}


def _split(arguments: list[Any], variants: Variants) -> tuple[object, dict[str, int]]:
    """What a `fractional` goes by, None for flag and targeting key, and the weights in their order."""
    bucket, entries = (
        (None, arguments) if arguments and isinstance(arguments[0], list) else (arguments[:1], arguments[1:])
    )
    weights: dict[str, int] = {}
    for entry in entries:
        match entry:
            case [str(name), int(weight)] if not isinstance(weight, bool) and weight >= 0 and name not in weights:
                weights[name] = weight
            case [str(name)] if name not in weights:
                weights[name] = 1
            case _:
                raise NoPlaceError(
                    f"its `fractional` has {_outline(entry)}, which is no variant with a weight of its own"
                )
    others = [name for name, weight in weights.items() if weight and name not in {variants.candidate, variants.stable}]
    if others:
        raise NoPlaceError(f"its `fractional` also gives {', '.join(others)}: a share that is neither side's")
    if not sum(weights.values()):
        raise NoPlaceError("its `fractional` has no weight at all")
    return bucket[0] if bucket else None, weights


def _outline(logic: object) -> str:
    """A piece of a targeting, for a sentence: its operator or its value, not what may be long inside."""
    match logic:
        case None:
            return "flag and targeting key"
        case {"var": str(name)}:
            return f"the field {name}"
        case dict():
            return f"`{next(iter(logic), '{}')}`"
        case list():
            return f"a list of {len(logic)}"
        case _:
            return repr(logic)[:40]
