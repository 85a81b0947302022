"""Mitigations: which flag to turn off when a gate is breached, before the whole release goes back.

The feature is turned off, not the release: if that was it, the release stays where it is and waits for a person; if it
was not, the traffic goes back as it would have without the flag. Nothing here ever turns a flag on again.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field, Tag

from rollout.base import Name, Written, by_kind
from rollout.durations import Duration, text
from rollout.gates import CeilingGate, CountingGate, Gate, ThresholdGate
from rollout.queries import looks_back
from rollout.routes import Route
from rollout.routes.flags import FlagdRoute, LaunchDarklyRoute, UnleashRoute

Flag = Annotated[
    Annotated[LaunchDarklyRoute, Tag("launchdarkly")]
    | Annotated[UnleashRoute, Tag("unleash")]
    | Annotated[FlagdRoute, Tag("flagd")],
    by_kind("launchdarkly", "unleash", "flagd"),
]
"""Every kind of flag."""


class Mitigation(Written):
    """One flag, and the gates whose breach it may end. Several for one gate are tried in the order they are written."""

    when: tuple[Name, ...] = Field(min_length=1, description="gates whose breach turns the flag off")
    flag: Flag
    then_watch: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        description="observed time with the flag off after which the gate must no longer be breached",
    )
    prove_within: Duration = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        description="how long the flag may take to be off where it is evaluated; then the traffic goes back",
    )


def refuse_unfit(
    mitigations: Sequence[Mitigation], gates: Mapping[str, Gate], routes: Sequence[Route], poll: timedelta
) -> None:
    """Refuse mitigations that could never help.

    Raises:
        ValueError: with the sentence that helps.
    """
    moved = {str(route) for route in routes}
    asked: set[tuple[str, str]] = set()
    for index, each in enumerate(mitigations):
        where = f"mitigations[{index}]"
        if str(each.flag) in moved:
            msg = f"{where}.flag: {each.flag} is moved by this rollout itself: a breach takes it back anyway"
            raise ValueError(msg)
        if each.then_watch < 2 * poll:
            msg = f"{where}.then_watch: {text(each.then_watch)} is shorter than two polls of {text(poll)}"
            raise ValueError(msg)
        for name in each.when:
            if name not in gates:
                msg = f"{where}.when: {name!r} is not one of gates: {', '.join(sorted(gates)) or 'none are defined'}"
                raise ValueError(msg)
            if (name, str(each.flag)) in asked:
                msg = f"{where}: {each.flag} is turned off for gate {name} by an earlier mitigation already"
                raise ValueError(msg)
            asked.add((name, str(each.flag)))
            _refuse_hasty(where, each, name, gates[name])


def _refuse_hasty(where: str, mitigation: Mitigation, name: str, gate: Gate) -> None:
    """A watch that ends while the gate still looks at what happened before the flag was off, or cannot speak yet."""
    if isinstance(gate, CountingGate) and gate.waits and mitigation.then_watch <= gate.waits:
        msg = (
            f"{where}.then_watch: {text(mitigation.then_watch)} is not longer than the {text(gate.waits)} for which "
            f"gate {name} can say nothing after a change; make it longer, or leave the gate out of `when`"
        )
        raise ValueError(msg)
    if not isinstance(gate, ThresholdGate | CeilingGate):
        return
    back = looks_back(gate.queries)
    if mitigation.then_watch < back:
        msg = (
            f"{where}.then_watch: {text(mitigation.then_watch)} is shorter than the {text(back)} that gate {name} "
            f"looks back: it would still see what was before; make it {text(back)} or longer"
        )
        raise ValueError(msg)
