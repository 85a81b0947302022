"""Names are in histories, saved views, alert rules and scripts: changing one breaks somebody's running rollout."""

import inspect
import re
from pathlib import Path

from rollout import errors, names
from rollout.happened import Phase


def test_the_task_queue_and_the_workflow_type_are_frozen() -> None:
    assert names.TASK_QUEUE == "rollouts"
    assert names.ROLLOUT == "Rollout"


def test_the_activity_types_are_frozen() -> None:
    activities = (
        names.PLAN_ROLLOUT,
        names.PREPARE_PODS,
        names.SHIFT_TRAFFIC,
        names.WATCH_HEALTH,
        names.RESTORE_TRAFFIC,
        names.DRAIN_POOL,
        names.APPLY_MITIGATION,
    )
    assert activities == (
        "plan_rollout",
        "prepare_pods",
        "shift_traffic",
        "watch_health",
        "restore_traffic",
        "drain_pool",
        "apply_mitigation",
    )


def test_the_commands_and_queries_are_frozen() -> None:
    assert names.COMMANDS == ("approve", "reject", "hold", "resume", "advance", "abort")
    assert (names.STATUS, names.PLAN) == ("status", "plan")
    commands = (names.APPROVE, names.REJECT, names.HOLD, names.RESUME, names.ADVANCE, names.ABORT)
    assert commands == names.COMMANDS


def test_the_search_attributes_and_their_types_are_frozen() -> None:
    assert names.SEARCH_ATTRIBUTES == {
        "RolloutService": "Keyword",
        "RolloutEnvironment": "Keyword",
        "RolloutStrategy": "Keyword",
        "RolloutPhase": "Keyword",
        "RolloutVersion": "Keyword",
        "RolloutPercent": "Int",
    }


def test_the_values_of_the_phase_attribute_are_frozen() -> None:
    assert [str(phase) for phase in Phase] == [
        "Preflight",
        "Shifting",
        "Baking",
        "AwaitingApproval",
        "Held",
        "Mitigating",
        "Finalizing",
        "Promoted",
        "RollingBack",
        "Stuck",
        "RolledBack",
        "Aborted",
        "Rejected",
        "Expired",
        "Refused",
    ]


def test_the_failure_types_are_frozen_and_each_has_its_class() -> None:
    assert names.FAILURES == ("RolledBack", "Aborted", "Rejected", "Expired", "Refused", "BadInput")
    for name in names.FAILURES:
        assert issubclass(getattr(errors, name), errors.SluiceError)


def test_every_error_says_what_it_means() -> None:
    tree = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SluiceError)]
    assert len(tree) >= 15
    assert [kind.__name__ for kind in tree if not kind.__doc__] == []
    assert [kind.__name__ for kind in tree if kind.__name__ not in (errors.__doc__ or "")] == []


def test_the_id_of_a_rollout_is_the_lock_of_its_service() -> None:
    assert names.workflow_id("prod", "checkout") == "rollout:prod/checkout"


def test_what_a_workflow_id_may_look_like_is_frozen() -> None:
    assert names.OWNER == "[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}"
    assert re.fullmatch(names.OWNER, names.workflow_id("prod-eu", "checkout_2"))


def test_every_name_in_the_file_is_frozen_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    values = [value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)]
    assert [value for value in values if f'"{value}"' not in here] == []
