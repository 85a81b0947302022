"""What people may say, when, and the sentence they get when they may not."""

from typing import Any

import pytest

from rollout import names
from rollout.commands import approval_target, obey, refusal
from rollout.happened import Phase
from rollout.messages import Command
from rollout.plan import Plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from tests.rollout.given import NOW, baked, baking, begun, ladder, planned, spec, yes

STOPPED = baking().stopped(Phase.ROLLED_BACK, "gate errors: 0.2", NOW)
HELD = baking().hold("held by ana", "ana", NOW)
FINALIZING = baked(2).in_phase(Phase.FINALIZING)
PROMOTED = baked(2).ended(Phase.PROMOTED, NOW)


def refused(
    name: str,
    progress: Progress,
    plan: Plan | None = None,
    wanted: RolloutSpec | None = None,
    **said: Any,
) -> str | None:
    return refusal(wanted or spec(), plan or planned(), progress, name, Command(**said))


# ── Refusals that hold for every command ────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", names.COMMANDS)
def test_after_the_first_stop_nothing_more_can_be_asked(name: str) -> None:
    sentence = "the rollout is already on its way back (gate errors: 0.2); nothing more can be asked of it"
    assert refused(name, STOPPED, by="ana") == sentence
    assert refused(name, STOPPED.ended(Phase.ROLLED_BACK, NOW), by="ana") == sentence


@pytest.mark.parametrize("name", names.COMMANDS)
def test_after_its_end_nothing_more_can_be_asked(name: str) -> None:
    assert refused(name, PROMOTED) == "the rollout is over, it is Promoted"
    assert refused(name, Progress().in_phase(Phase.REFUSED)) == "the rollout is over, it is Refused"


@pytest.mark.parametrize("name", [names.HOLD, names.RESUME, names.ADVANCE, names.APPROVE])
def test_at_the_very_end_only_a_stop_is_possible(name: str) -> None:
    assert refused(name, FINALIZING, by="ana") == ("the rollout is Finalizing; only abort and reject are possible now")


@pytest.mark.parametrize("name", [names.ABORT, names.REJECT])
@pytest.mark.parametrize("progress", [Progress(), begun(), begun().shifting(5, 1), baking(), HELD, baked(), FINALIZING])
def test_a_stop_is_never_refused_while_there_is_something_to_stop(name: str, progress: Progress) -> None:
    assert refused(name, progress) is None


def test_an_unknown_command_is_told_the_known_ones() -> None:
    known = "approve, reject, hold, resume, advance, abort"
    assert refused("pause", baking()) == f"there is no command 'pause'; known are {known}"


# ── Hold, resume, advance ───────────────────────────────────────────────────────────────────────


def test_hold_and_resume_take_turns() -> None:
    assert refused(names.HOLD, baking()) is None
    assert refused(names.HOLD, HELD) == "it is held already"
    assert refused(names.RESUME, HELD) is None
    assert refused(names.RESUME, baking()) == "it is not held, it is Baking"
    assert refused(names.RESUME, Progress()) == "it is not held, it is Preflight"


def test_a_hold_is_possible_before_anything_has_moved() -> None:
    assert refusal(spec(), None, Progress(), names.HOLD, Command()) is None


def test_advance_ends_a_bake_and_nothing_else() -> None:
    assert refused(names.ADVANCE, baking()) is None
    assert refused(names.ADVANCE, HELD) == "it is held (held by ana); resume it first"
    assert refused(names.ADVANCE, begun().shifting(5, 1)) == "there is no bake to end, it is Shifting"
    asking = baked().in_phase(Phase.AWAITING_APPROVAL)
    assert refused(names.ADVANCE, asking) == "there is no bake to end, it is AwaitingApproval"
    assert refusal(spec(), None, Progress(), names.ADVANCE, Command()) == "there is no bake to end, it is Preflight"


def test_advance_may_name_its_stage_so_that_a_late_one_does_not_end_the_next_bake() -> None:
    assert refused(names.ADVANCE, baking(1), stage="half") is None
    assert refused(names.ADVANCE, baking(1), stage="internal QA") == "it bakes at stage 'half', not 'internal QA'"


# ── Approve ─────────────────────────────────────────────────────────────────────────────────────

THREE = ladder(
    {"name": "one", "percent": 5, "approval": {}},
    {"name": "two", "percent": 50},
    {"name": "three", "percent": 100, "approval": {}},
)
OPEN = spec(strategy=THREE)


def approving(progress: Progress, **said: Any) -> str | None:
    return refused(names.APPROVE, progress, planned(OPEN), OPEN, **said)


def test_a_yes_can_come_early_but_not_before_the_plan_is_known() -> None:
    assert approving(baking(0, planned(OPEN))) is None
    sentence = "preflight is not over yet; approve when the plan is known"
    assert refusal(OPEN, None, Progress(), names.APPROVE, Command()) == sentence


def test_a_yes_is_possible_while_held() -> None:
    assert approving(baked(0, planned(OPEN)).hold("held by ana", "ana", NOW)) is None


@pytest.mark.parametrize(
    ("stage", "done", "named", "target"),
    [
        (0, (), None, 0),
        (0, (0,), None, 2),
        (1, (0,), None, 2),
        (1, (), None, 2),
        (0, (), "three", 2),
        (0, (0,), "one", 0),
        (1, (), "one", None),
        (0, (), "two", None),
        (0, (), "four", None),
        (2, (0, 2), None, None),
    ],
)
def test_a_yes_is_for_the_named_stage_or_the_first_that_still_asks(
    stage: int, done: tuple[int, ...], named: str | None, target: int | None
) -> None:
    there = baking(stage, planned(OPEN)).but(approvals={index: yes() for index in done})
    assert approval_target(planned(OPEN), there, Command(stage=named)) == target


def test_a_yes_that_nobody_asked_for_is_told_who_asks() -> None:
    plan = planned(OPEN)
    assert approving(baking(0, plan), stage="two") == (
        "there is nothing to approve at stage 'two'; stages that still ask are: one, three"
    )
    assert approving(baking(1, plan), stage="one") == (
        "there is nothing to approve at stage 'one'; stages that still ask are: three"
    )
    answered = baking(2, plan).approved(2, yes())
    assert approving(answered) == "there is nothing to approve; stages that still ask are: none"


def test_only_members_of_the_asked_groups_may_say_yes() -> None:
    assert refused(names.APPROVE, baking(), by="ana") is None
    assert refused(names.APPROVE, baking(), by="eve") == ('eve may not approve it; send {"by": …} as one of ana, ben')
    assert refused(names.APPROVE, baking()) == (
        'somebody without a name may not approve it; send {"by": …} as one of ana, ben'
    )


def test_an_empty_group_is_nobody_not_everybody() -> None:
    lonely = planned().model_copy(update={"people": {"qa": ()}})
    assert refused(names.APPROVE, baking(), lonely, by="eve") is not None
    assert refused(names.APPROVE, baking(), lonely) is not None


@pytest.mark.parametrize("name", [None, "", "  ", "cleo", " cleo "])
def test_four_eyes_are_not_the_starter_s_and_have_a_name(name: str | None) -> None:
    careful = spec(strategy=THREE, approvals={"four_eyes": True})
    plan = planned(careful)
    sentence = "four eyes: cleo started it, so somebody else must approve, by name"
    assert refused(names.APPROVE, baking(0, plan), plan, careful, by=name) == sentence
    assert refused(names.APPROVE, baking(0, plan), plan, careful, by="ana") is None


# ── Obey ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "outcome", "word"), [(names.ABORT, Phase.ABORTED, "aborted"), (names.REJECT, Phase.REJECTED, "rejected")]
)
def test_a_stop_says_who_and_why(name: str, outcome: Phase, word: str) -> None:
    stop = obey(planned(), baking(), name, Command(by="ana", comment="pager\n is  red"), NOW).stop
    assert stop is not None
    assert (stop.outcome, stop.reason, stop.by, stop.at) == (outcome, f"{word} by ana: pager is red", "ana", NOW)
    nameless = obey(None, Progress(), name, Command(), NOW).stop
    assert nameless is not None
    assert nameless.reason == f"{word} by somebody"


def test_a_hold_says_who_and_why() -> None:
    held = obey(planned(), baking(), names.HOLD, Command(by="ana", comment="looking"), NOW).held
    assert held is not None
    assert (held.reason, held.by, held.since, held.acknowledged) == ("held by ana: looking", "ana", NOW, ())


def test_resume_and_advance_do_what_they_say() -> None:
    assert obey(planned(), HELD, names.RESUME, Command(), NOW).held is None
    early = obey(planned(), baking(), names.ADVANCE, Command(by="ana"), NOW)
    assert (early.advanced_by, early.records[0].ended_early_by) == ("ana", "ana")
    nameless = obey(planned(), baking(), names.ADVANCE, Command(), NOW)
    assert (nameless.advanced_by, nameless.records[0].ended_early_by) == ("", "somebody")


def test_a_yes_is_kept_with_its_words() -> None:
    said = Command(by="ana", comment="smoke tests are green")
    approvals = obey(planned(), baking(), names.APPROVE, said, NOW).approvals
    assert {index: (yes_.by, yes_.comment, yes_.at) for index, yes_ in approvals.items()} == {
        0: ("ana", "smoke tests are green", NOW)
    }


def test_what_makes_no_sense_changes_nothing() -> None:
    assert obey(planned(), baking(), "pause", Command(), NOW) == baking()
    assert obey(planned(), baking(2), names.APPROVE, Command(), NOW) == baking(2)
    assert obey(None, Progress(), names.APPROVE, Command(), NOW) == Progress()
