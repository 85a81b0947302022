"""The answer of the `status` query: flat on top for scripts, whole below, and the same words as the UI."""

import pytest

from rollout.happened import Phase
from rollout.messages import TrafficRestored
from rollout.progress import Progress
from rollout.status import RolloutStatus, status
from rollout.story import details
from tests.rollout.given import MINUTE, NOW, baked, baking, begun, both, planned, saw, spec, yes


def of(progress: Progress) -> RolloutStatus:
    return status(spec(), planned(), progress)


def test_before_the_plan_there_is_no_stage() -> None:
    answer = status(spec(), None, Progress())
    assert (answer.workflow_id, answer.phase, answer.percent) == ("rollout:prod/checkout", Phase.PREFLIGHT, 0)
    assert (answer.stage, answer.bake, answer.bake_ends_about, answer.reason) == (None, None, None, None)


def test_a_bake_has_an_end_as_far_as_one_can_tell() -> None:
    there = baking(1).watched(saw("interrupted", both(observed=12 * MINUTE)), spec(), NOW, counted=True)
    answer = of(there.watching(Phase.BAKING, NOW + 20 * MINUTE))
    assert (answer.stage, answer.bake, answer.baked) == ("half", 30 * MINUTE, 12 * MINUTE)
    assert answer.bake_ends_about == NOW + 38 * MINUTE


def test_a_bake_that_waits_for_a_gate_does_not_end_in_the_past() -> None:
    late = baked(1).but(baked=45 * MINUTE).watching(Phase.BAKING, NOW)
    assert of(late).bake_ends_about == NOW


@pytest.mark.parametrize("progress", [begun().shifting(5, 1), baking().in_phase(Phase.HELD), baked().asked(NOW)])
def test_only_a_bake_has_an_end(progress: Progress) -> None:
    assert of(progress.but(watching_since=None)).bake_ends_about is None


def test_the_reason_is_why_it_goes_back_or_why_it_is_held() -> None:
    held = baking().hold("held by ana", "ana", NOW)
    assert of(held).reason == "held by ana"
    assert of(held.stopped(Phase.ABORTED, "aborted by ben", NOW)).reason == "aborted by ben"
    assert of(baking()).reason is None


def test_the_details_are_what_the_ui_shows() -> None:
    there = baking(1).noted("ignored: hold")
    assert of(there).details == details(spec(), planned(), there)
    assert of(there).notes == ("ignored: hold",)


@pytest.mark.parametrize(
    "progress",
    [
        Progress(),
        begun().shifting(5, 1),
        baking(1).approved(0, yes()),
        baking().hold("drift: moved", None, NOW, acknowledged="drift"),
        baking(1).watched(saw("breached", gate="errors", reason="0.2"), spec(), NOW, counted=True),
        baking(1).stopped(Phase.ABORTED, "aborted", NOW).restored(TrafficRestored(epoch=9)).ended(Phase.ABORTED, NOW),
        baked(2).ended(Phase.PROMOTED, NOW),
    ],
)
def test_a_status_survives_the_wire(progress: Progress) -> None:
    answer = status(spec(), planned() if progress.records else None, progress)
    assert RolloutStatus.model_validate_json(answer.model_dump_json()) == answer
    assert RolloutStatus.model_validate(answer.model_dump(mode="json")) == answer
