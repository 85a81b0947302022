"""What Istio says about a VirtualService, where it says anything.

By default it says nothing. An installation that follows the distribution of its configuration writes a condition
`Reconciled`: whether every proxy has what the condition's generation says. It is believed only about the generation
that is there; other conditions, such as the analysers' opinion, prove nothing and are left to `istioctl analyze`.
"""

from activities.kubernetes import Json


def is_told(found: Json) -> bool:
    """Whether Istio tells at all whether its proxies have it."""
    return _reconciled(found) is not None


def unreconciled(found: Json) -> str | None:
    """Why not every proxy has the VirtualService as it is, by a status that `is_told`; None if every one has."""
    condition = _reconciled(found) or {}
    seen, there = _generation(condition, found) or 0, found["metadata"].get("generation", 0)
    if seen < there:
        return (
            f"Istio's status is about generation {seen}, written is {there}: its proxies do not have it yet, or Istio "
            "no longer writes the status; take the old one off then"
        )
    if condition.get("status") == "True":
        return None
    words = " ".join(str(condition.get("message") or condition.get("reason") or "no reason given").split())
    return f"not every proxy has it yet, Istio says: {words}"


def _reconciled(found: Json) -> Json | None:
    """The condition, if it tells which generation it is about."""
    conditions: list[Json] = (found.get("status") or {}).get("conditions") or []
    condition = next((each for each in conditions if each.get("type") == "Reconciled"), None)
    return condition if condition and _generation(condition, found) is not None else None


def _generation(condition: Json, found: Json) -> int | None:
    told = condition.get("observedGeneration", found["status"].get("observedGeneration"))
    try:
        return None if told is None else int(told)  # may be a string
    except ValueError:
        return None
