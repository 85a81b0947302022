"""The annotations of a canary Ingress: what ingress-nginx makes of them, and what a write makes of them.

Read as its controller and its Lua read them: the total counts from 100 on, a weight that is no number is 0, and one
beyond the total is all. Nothing but the controller checks annotations, so any text can be found here.
"""

import re
from typing import NamedTuple

from activities.kubernetes import Json
from activities.ports import Write
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, IngressNginxRoute

PREFIX = "nginx.ingress.kubernetes.io/"
CANARY, WEIGHT, TOTAL = (f"{PREFIX}canary{end}" for end in ("", "-weight", "-weight-total"))
HEADER, VALUE, PATTERN = (f"{PREFIX}canary-by-header{end}" for end in ("", "-value", "-pattern"))
COOKIE = f"{PREFIX}canary-by-cookie"
AFFINITY = f"{PREFIX}affinity"
AFFINITY_OF_CANARY = f"{PREFIX}affinity-canary-behavior"
WHOLE = 10_000  # weights are hundredths of a percent

_LEAST_TOTAL = 100
_NUMBER = re.compile(r"[+-]?\d{1,9}")


class Split(NamedTuple):
    """What ingress-nginx does with an Ingress's annotations.

    Attributes:
        percent: of the requests that it sends there, 0 to 100.
        words: as the annotations say it: `500 of 10000`.
        wrong: what no person can have meant; None if there is nothing.
    """

    percent: float
    words: str
    wrong: str | None = None


def annotations_of(ingress: Json) -> dict[str, str]:
    """An Ingress's annotations."""
    return ingress["metadata"].get("annotations") or {}


def is_canary(ingress: Json) -> bool:
    """Whether an Ingress is marked as a canary."""
    return annotations_of(ingress).get(CANARY) == "true"


def split(ingress: Json) -> Split:
    """The share of a canary Ingress."""
    found = annotations_of(ingress)
    weight, total = found.get(WEIGHT, "0"), found.get(TOTAL, str(_LEAST_TOTAL))
    words = f"{weight} of {total}"
    if not is_canary(ingress):
        wrong = "it is not marked as a canary, so ingress-nginx takes it for one more Ingress of the same hosts"
        return Split(0, words, wrong)
    given, whole = _number(weight), _number(total)
    if given is None:
        return Split(0, words, f"canary-weight is {weight!r}, which ingress-nginx takes for 0")
    counts = whole if whole is not None and whole >= _LEAST_TOTAL else _LEAST_TOTAL
    percent = round(100 * min(max(given, 0), counts) / counts, 4)
    if counts != whole:
        return Split(percent, words, f"canary-weight-total is {total!r}, which ingress-nginx takes for {counts}")
    if not 0 <= given <= counts:
        return Split(
            percent, words, f"canary-weight is {weight!r} of {total}, which ingress-nginx takes for {percent:g} %"
        )
    return Split(percent, words)


def forces(ingress: Json, header: ForcedHeader | None) -> bool:
    """Whether the header forces a version, by its plain values `always` and `never`."""
    found = annotations_of(ingress)
    plain = not {VALUE, PATTERN} & found.keys()
    return header is not None and is_canary(ingress) and found.get(HEADER) == header.name and plain


def desired(route: IngressNginxRoute, write: Write) -> dict[str, str | None]:
    """The annotations that make one write; None: to be taken off.

    Args:
        route: names the header.
        write: percent, and whether the forced header shall be there.

    Raises:
        Misconfigured: the percent has no whole weight.
    """
    weight = round(write.percent * WHOLE / 100)
    if not 0 <= weight <= WHOLE or abs(write.percent * WHOLE / 100 - weight) > 1e-6:
        raise Misconfigured(f"{route} cannot take {write.percent} %: 0 to 100 in steps of 0.01 is possible")
    # `legacy`: by default users who carry a cookie of the candidate's would stay there at weight 0.
    wanted: dict[str, str | None] = {
        CANARY: "true",
        WEIGHT: str(weight),
        TOTAL: str(WHOLE),
        AFFINITY_OF_CANARY: "legacy",
    }
    if write.release or not write.header:  # a header or a cookie comes before the weight, whoever put it there
        wanted |= dict.fromkeys((HEADER, VALUE, PATTERN, COOKIE))
    elif route.header is not None:
        wanted |= {HEADER: route.header.name, VALUE: None, PATTERN: None}
    return wanted


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None
