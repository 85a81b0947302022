"""Gates of a flag's ladder: what they compare are the flag's variations, unless they say what else."""

from collections.abc import Mapping
from typing import Any

LABEL = "variation"
_COMPARING = {"threshold", "error-ratio", "latency", "proportion", "ceiling"}


def by_variation(gate: Any, candidate: str, stable: str) -> Any:  # noqa: ANN401 - raw input
    """A gate as written, with `versions` filled in where its kind has them.

    Args:
        gate: raw input, or a gate that was read already.
        candidate: the variation of those who see the feature.
        stable: the variation of everybody else.
    """
    if not isinstance(gate, Mapping) or "versions" in gate or gate.get("kind", "threshold") not in _COMPARING:
        return gate
    return {**gate, "versions": {"label": LABEL, "candidate": candidate, "stable": stable}}


def variations(route: Any) -> tuple[str, str] | None:  # noqa: ANN401 - raw input
    """Candidate's and stable's variation of a flag as written; None if it is no flag."""
    if not isinstance(route, Mapping):
        return (route.candidate, route.stable) if hasattr(route, "candidate") and hasattr(route, "stable") else None
    usual = ("true", "false") if route.get("kind") == "launchdarkly" else ("on", "off")
    return str(route.get("candidate", usual[0])), str(route.get("stable", usual[1]))
