"""Whatever happens, in whatever order: nothing goes up after a stop, nothing passes unseen, and there is an end.

The properties are asserted in `world.py` at every step; here is what is thrown at it.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rollout import names
from rollout.decide import Shift
from rollout.happened import Phase
from rollout.judge.verdict import Verdict
from rollout.spec import RolloutSpec
from tests.rollout.given import HEAVY, LIGHT, ladder, spec
from tests.rollout.happening import Away, Event, Fails, Loses, Reports, Say, Sees, Wait, Works
from tests.rollout.world import ROUTE, World, written

PEOPLE = (None, "ana", "ben", "cleo", "eve")
FLAG = {"kind": "flagd", "connection": "flags"}
GATES = {"errors": {"query": "x", "above": 1}, "orders": {"query": "y", "below": 1, "on_breach": "hold"}}

approvals = st.builds(
    lambda within, then, before, group: written(within=within, then=then, before=before, **{"from": group}),
    st.sampled_from(["30s", "2m"]),
    st.sampled_from(["rollback", "hold"]),
    st.booleans(),
    st.sampled_from([None, ["qa"]]),
)


whens = st.sampled_from([["errors"], ["orders"], [*GATES]])


@st.composite
def specs(draw: st.DrawFn) -> RolloutSpec:
    percents = draw(st.sampled_from([(100,), (5, 100), (5, 25, 100)]))
    chosen = st.sampled_from([None, [], ["errors"], ["orders"]])
    stages = [
        written(percent=percent, bake="20s", gates=draw(chosen), approval=draw(st.none() | approvals))
        for percent in percents
    ]
    used = {name for stage in stages for name in stage.get("gates", GATES)}
    return spec(
        strategy=ladder(*stages),
        gates={name: gate for name, gate in GATES.items() if name in used},
        approvals={"people": ["qa"], "four_eyes": draw(st.booleans())},
        policy={
            "drift": draw(st.sampled_from(["hold", "reassert"])),
            "no_data": {"then": draw(st.sampled_from(["hold", "rollback"]))},
        },
        mitigations=[
            {"when": when, "flag": FLAG | {"key": f"flag-{number}"}, "then_watch": "10s"}
            for number, when in enumerate(
                draw(st.lists(st.sampled_from([["errors"], ["orders"], [*GATES]]), max_size=3))
            )
            if set(when) <= used
        ],
    )


def say(*commands: str) -> st.SearchStrategy[Event]:
    stages = st.sampled_from([None, None, "5 %", "25 %", "100 %"])
    return st.builds(Say, st.sampled_from(commands), st.sampled_from(PEOPLE), stages)


going_on = say(names.APPROVE, names.APPROVE, names.HOLD, names.RESUME, names.RESUME, names.ADVANCE)
stopping = say(names.ABORT, names.REJECT)
watching = (
    st.builds(Sees, st.sampled_from(["errors", "orders"]), st.sampled_from(list(Verdict)))
    | st.builds(Loses, st.sampled_from(["gate errors", "gate orders", ROUTE]), lost=st.booleans())
    | st.builds(Reports, st.sampled_from(["breached", "blind", "sighted", "no-data", "drifted", "interrupted"]))
)
luck: st.SearchStrategy[Event] = (
    st.just(Works())
    | st.builds(Wait, st.integers(1, 60))
    | st.builds(Away, st.integers(1, 600))
    | st.builds(Fails, st.booleans(), st.booleans())
)
events = luck | luck | watching | going_on


def play(wanted: RolloutSpec, happening: list[Event]) -> World:
    world = World(wanted)
    for event in happening:
        world.go_on()
        world.happens(event)
    return world


@given(specs(), st.lists(events, max_size=40))
@HEAVY
def test_it_ends_or_waits_for_people_whatever_happens(wanted: RolloutSpec, happening: list[Event]) -> None:
    play(wanted, happening).finish()


@given(specs(), st.lists(events, max_size=25), stopping, st.lists(events | stopping, max_size=10))
@LIGHT
def test_after_a_stop_nothing_goes_up_and_it_ends(
    wanted: RolloutSpec, before: list[Event], stop: Event, after: list[Event]
) -> None:
    world = play(wanted, [*before, stop])
    shifts = sum(isinstance(decision, Shift) for decision in world.decisions)
    ended = world.over
    for event in after:
        world.happens(event)
        world.go_on()
    world.finish()
    assert sum(isinstance(decision, Shift) for decision in world.decisions) == shifts
    assert world.over
    assert ended or world.progress.phase in {Phase.ABORTED, Phase.REJECTED}
    assert world.progress.phase is Phase.PROMOTED or world.progress.percent == 0


@given(specs())
@LIGHT
def test_a_healthy_release_that_everybody_wants_is_promoted_through_every_percent(wanted: RolloutSpec) -> None:
    world = World(wanted)
    for number in range(20):
        world.go_on()
        world.happens(Say(names.APPROVE, "ana" if number % 2 else "ben"))
        world.go_on()
        world.happens(Works())
    assert world.progress.phase is Phase.PROMOTED
    assert list(world.progress.percents_seen) == [stage.percent for stage in wanted.strategy.stages]
    assert all(record.baked.total_seconds() >= 20 for record in world.progress.records)


def test_the_simulation_reaches_every_end_and_every_wait() -> None:
    """A simulation that never gets anywhere proves nothing."""
    asks: dict[str, Any] = {"percent": 5, "bake": "20s", "approval": {"within": "30s"}}
    wanted = spec(strategy=ladder(asks, {"percent": 100, "bake": "20s"}), gates=GATES)
    held = spec(strategy=ladder(asks | {"approval": {"within": "30s", "then": "hold"}}, {"percent": 100}), gates=GATES)
    flagged = spec(
        strategy=ladder(asks, {"percent": 100}),
        gates=GATES,
        mitigations=[{"when": ["errors"], "flag": FLAG | {"key": "feature"}, "then_watch": "10s"}],
    )
    yes, good = Say(names.APPROVE, "ana"), Works()
    bad: list[Event] = [Sees("errors", Verdict.BREACHED), Reports("breached")]
    stories: list[tuple[RolloutSpec, list[Event], Phase]] = [
        (wanted, [yes, good, good, good, good, good], Phase.PROMOTED),
        (wanted, [good, Say(names.ABORT)], Phase.ABORTED),
        (wanted, [good, good, Say(names.REJECT)], Phase.REJECTED),
        (wanted, [good, good, Wait(30)], Phase.EXPIRED),
        (wanted, [good, Sees("errors", Verdict.BREACHED), Reports("breached")], Phase.ROLLED_BACK),
        (wanted, [good, Loses("gate errors"), Reports("no-data")], Phase.ROLLED_BACK),
        (wanted, [good, Sees("orders", Verdict.BREACHED), Reports("breached")], Phase.HELD),
        (wanted, [good, Reports("drifted")], Phase.HELD),
        (wanted, [Fails(drifted=False)], Phase.HELD),
        (wanted, [Say(names.HOLD), good], Phase.HELD),
        (held, [good, good, Wait(30)], Phase.HELD),
        (flagged, [good, *bad], Phase.MITIGATING),
        (flagged, [good, *bad, good], Phase.MITIGATING),
        (flagged, [good, *bad, good, good], Phase.HELD),
        (flagged, [good, *bad, good, *bad], Phase.ROLLED_BACK),
        (flagged, [good, *bad, Fails(drifted=False)], Phase.ROLLED_BACK),
        (flagged, [good, *bad, good, Say(names.ABORT)], Phase.ABORTED),
    ]
    for spec_, happening, phase in stories:
        world = play(spec_, happening)
        world.go_on()
        assert world.progress.phase is phase, happening
