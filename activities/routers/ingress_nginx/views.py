"""Both Ingresses as Sluice looks at them: the percent, the mark, and everything that speaks against believing them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from activities.kubernetes import Json, Mark, managers, mark_of, suspects
from activities.routers.ingress_nginx.annotations import (
    AFFINITY,
    CANARY,
    TOTAL,
    WEIGHT,
    annotations_of,
    forces,
    is_canary,
    split,
)
from activities.routers.ingress_nginx.rules import desired, is_ours, places
from rollout.base import percent_text
from rollout.routes import IngressNginxRoute


class Ingresses(NamedTuple):
    """The Ingresses of a namespace, as far as they matter to a route; None: there is none.

    Attributes:
        stable: stable's, which is never written.
        canary: the candidate's.
        rivals: canaries of somebody else's for requests that stable's Ingress sends to stable.
    """

    stable: Json | None
    canary: Json | None
    rivals: tuple[Json, ...] = ()


class View(NamedTuple):
    """What they say.

    Attributes:
        percent: of the requests for the candidate, 0 to 100.
        mark: who wrote last.
        forced: whether the forced header works.
        words: the weight, as it is written.
        astray: why requests may get to the candidate whatever the weight. No write helps.
        drift: why the weight is not what was written; the next write puts it right.
        wrong: why the candidate may not get its share. No write helps.
        stale: the same, but the next write puts it right.
    """

    percent: float
    mark: Mark
    forced: bool
    words: str
    astray: str | None
    drift: str | None
    wrong: str | None
    stale: str | None

    @property
    def unproven(self) -> str | None:
        """Why the percent cannot be in force; 0 % can while nothing leads to the candidate, whatever else is wrong."""
        return self.astray or self.drift or ((self.wrong or self.stale) if self.percent else None)

    @property
    def problem(self) -> str | None:
        """What an operator should know."""
        return self.astray or self.drift or self.wrong or self.stale


def chosen(every: Iterable[Json], route: IngressNginxRoute) -> Ingresses:
    """Those that matter, out of all of a namespace."""
    named = {each["metadata"]["name"]: each for each in every}
    stable, canary = named.pop(route.ingress, None), named.pop(route.canary_ingress, None)
    ours = places(stable, route.stable) if stable else set()
    canaries = (each for each in named.values() if is_canary(each))
    return Ingresses(stable, canary, tuple(each for each in canaries if places(each) & ours))


def view(found: Ingresses, route: IngressNginxRoute) -> View:
    """What the Ingresses of a route do."""
    astray, wrong = next(_astray(found, route), None), next(_wrong(found, route), None)
    if found.canary is None:
        words = f"there is no Ingress {route.namespace}/{route.canary_ingress}, so stable gets everything"
        return View(0, Mark(), forced=False, words=words, astray=astray, drift=None, wrong=wrong, stale=None)
    shown, mark = split(found.canary), mark_of(found.canary)
    return View(
        shown.percent,
        mark,
        forced=forces(found.canary, route.header),
        words=f"{_named(route)} of epoch {mark.epoch} has weight {shown.words}",
        astray=astray,
        drift=_drift(found.canary, mark, route),
        wrong=wrong,
        stale=_stale(found, route),
    )


def _named(route: IngressNginxRoute) -> str:
    return f"Ingress {route.namespace}/{route.canary_ingress}"


def _drift(canary: Json, mark: Mark, route: IngressNginxRoute) -> str | None:
    """How the weight differs from what its owner wrote, or that there is none."""
    shown = split(canary)
    if not is_canary(canary):
        return f"{_named(route)}: {shown.wrong}{_who(canary)}"
    if mark.owner is None or mark.percent is None or shown.percent == mark.percent:
        return None
    why = f"; {shown.wrong}" if shown.wrong else ""
    return (
        f"{_named(route)} gives {percent_text(shown.percent)}, we wrote {percent_text(mark.percent)}{_who(canary)}{why}"
    )


def _astray(found: Ingresses, route: IngressNginxRoute) -> Iterator[str]:
    """How requests may get to the candidate past the weight."""
    leads = places(found.stable, route.candidate) if found.stable else set()
    if found.canary is not None:
        leads &= places(found.canary, route.candidate)  # another path for a preview is the operator's business
    elif found.stable is not None and places(found.stable, route.stable):
        leads = set()
    if leads:
        yield f"Ingress {route.place} itself leads {_first(leads)} to the candidate's Service {route.candidate}"
    for rival in found.rivals:
        if places(rival, route.candidate):
            name = rival["metadata"]["name"]
            yield f"Ingress {name} is a canary, too, and leads to Service {route.candidate}: delete it"


def _wrong(found: Ingresses, route: IngressNginxRoute) -> Iterator[str]:
    """Why ingress-nginx may not send the candidate its share, the worst first."""
    where = f"Ingress {route.place}"
    if found.stable is None:
        yield f"there is no {where}"
        return
    if not places(found.stable, route.stable):
        yield f"no path of {where} leads to Service {route.stable}: name the Service that it leads to as `stable`"
    if is_canary(found.stable):
        yield f"{where} is a canary itself: name the Ingress beside it as `ingress`"
    if annotations_of(found.stable).get(AFFINITY):
        yield (
            f"{where} keeps users on a pod by a cookie (annotation {AFFINITY}), which comes before every weight: "
            "they would stay with stable at 100 %; take the annotation off, or use another kind of route"
        )
    if found.rivals:
        name = found.rivals[0]["metadata"]["name"]
        yield f"Ingress {name} is a canary of {where}, too, and only one counts: delete it, or name it here"
    if found.canary is not None:
        yield from _wrong_canary(found.canary, found.stable, route)


def _wrong_canary(canary: Json, stable: Json, route: IngressNginxRoute) -> Iterator[str]:
    """Why a canary that Sluice did not make is none of stable's Ingress."""
    if is_ours(canary):
        return
    here, there = places(canary, route.candidate), places(stable, route.stable)
    if missing := there - here:
        yield f"{_named(route)} does not lead {_first(missing)} to Service {route.candidate}, so that is not split"
    if strange := places(canary) - there:
        yield f"{_named(route)} leads {_first(strange)}, which Ingress {route.ingress} does not lead to stable"
    if canary["spec"].get("ingressClassName") != stable["spec"].get("ingressClassName"):
        yield f"{_named(route)} is of another class than Ingress {route.ingress}: another controller reads it, or none"


def _stale(found: Ingresses, route: IngressNginxRoute) -> str | None:
    """What the next write puts right: a weight that is none, or rules that were changed since."""
    canary, stable = found.canary, found.stable
    if canary is not None and (wrong := split(canary).wrong):
        return f"{_named(route)}: {wrong}{_who(canary)}"
    if canary is None or stable is None or not is_ours(canary) or not split(canary).percent:
        return None
    if desired(stable, route) == canary["spec"]:
        return None
    return f"{_named(route)} does not have the rules that Ingress {route.ingress} has now: the next write renews them"


def _who(canary: Json) -> str:
    """Who may have changed the split, as the end of a sentence."""
    paths = [("f:metadata", "f:annotations", f"f:{key}") for key in (WEIGHT, TOTAL, CANARY)]
    return suspects(canary, *next((path for path in paths if managers(canary, *path)), paths[0]))


def _first(some: Iterable[object]) -> str:
    return min(str(each) for each in some)
