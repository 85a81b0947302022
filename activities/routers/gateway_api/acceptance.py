"""What controllers say about an HTTPRoute, in its status.

A weight in the API is not a weight in force. It is believed when, for every parent, the controller has accepted the
very generation that is there and could resolve what it refers to. That is as much as the Gateway API tells: a proxy of
that controller may still be some milliseconds behind.
"""

from typing import NamedTuple

from activities.kubernetes import Json


class Acceptance(NamedTuple):
    """What all controllers together say.

    Attributes:
        problem: why the route as written is not in force; None if it is.
        dangling: a backend of the route was not found, in the controller's words: only that backend's share fails.
        by: who accepted it for what, in words.
    """

    problem: str | None
    dangling: str | None
    by: str


def acceptance(found: Json) -> Acceptance:
    """Whether an HTTPRoute is in force.

    Args:
        found: the HTTPRoute with its status. What is told of parents that it no longer names does not count.
    """
    wanted = found.get("spec", {}).get("parentRefs") or []
    if not wanted:
        return Acceptance("it has no parentRefs, so nothing serves it", None, "nobody")
    problems: list[str] = []
    dangling: list[str] = []
    by: list[str] = []
    for parent in wanted:
        told = [entry for entry in _entries(found) if _same(entry.get("parentRef") or {}, parent)]
        if not told:
            problems.append(f"no controller has accepted it for {_called(parent)} yet")
        for entry in told:
            who = str(entry.get("controllerName") or "a controller")
            problem, missing = _judged(_conditions(entry), found["metadata"].get("generation", 0))
            problems += [f"{who} for {_called(parent)}: {problem}"] if problem else []
            dangling += [f"{who} for {_called(parent)}: {missing}"] if missing else []
            by.append(f"{who} for {_called(parent)}")
    return Acceptance("; ".join(problems) or None, "; ".join(dangling) or None, ", ".join(by))


def _entries(found: Json) -> list[Json]:
    return (found.get("status") or {}).get("parents") or []


def _conditions(entry: Json) -> dict[str, Json]:
    return {each["type"]: each for each in entry.get("conditions") or []}


def _judged(conditions: dict[str, Json], generation: int) -> tuple[str | None, str | None]:
    """Why an entry does not tell that this generation is in force, and which backend it did not find."""
    for kind in ("Accepted", "ResolvedRefs"):
        if (condition := conditions.get(kind)) is None:
            return f"it does not tell {kind}", None
        if (seen := condition.get("observedGeneration", 0)) < generation:
            return f"it has seen generation {seen}, written is {generation}", None
    accepted, resolved, partial = conditions["Accepted"], conditions["ResolvedRefs"], conditions.get("PartiallyInvalid")
    if accepted.get("status") != "True":
        return _said("not accepted", accepted), None
    if partial and partial.get("status") == "True":
        return _said("accepted only in part", partial), None
    if resolved.get("status") == "True":
        return None, None
    unresolved = _said("references are not resolved", resolved)
    return (None, unresolved) if resolved.get("reason") == "BackendNotFound" else (unresolved, None)


def _said(what: str, condition: Json) -> str:
    words = " ".join(str(condition.get("message") or "").split())
    return f"{what} ({condition.get('reason') or 'no reason given'}{f': {words}' if words else ''})"


def _same(told: Json, wanted: Json) -> bool:
    """Whether a status is about a parent; what is left out in a reference is in the namespace of the route."""
    defaults = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "sectionName": None, "port": None}
    keys = (*defaults, "name")
    if any(told.get(key, defaults.get(key)) != wanted.get(key, defaults.get(key)) for key in keys):
        return False
    spaces = {told.get("namespace"), wanted.get("namespace")} - {None}
    return len(spaces) <= 1


def _called(parent: Json) -> str:
    section = f" {parent['sectionName']}" if parent.get("sectionName") else ""
    space = f"{parent['namespace']}/" if parent.get("namespace") else ""
    return f"{parent.get('kind', 'Gateway')} {space}{parent.get('name')}{section}"
