"""Every string that a user sees, types or stores, in one place, frozen by a test.

Why: these names are in histories of running rollouts, saved UI views, alert rules and shell scripts. Renaming one is a
breaking change, so it must be visible as a diff of this file and of `tests/rollout/test_names.py`.
"""

from typing import Final

TASK_QUEUE: Final = "rollouts"

# Workflow types.
ROLLOUT: Final = "Rollout"

# Activity types, verb_object.
PLAN_ROLLOUT: Final = "plan_rollout"
PREPARE_PODS: Final = "prepare_pods"
SHIFT_TRAFFIC: Final = "shift_traffic"
WATCH_HEALTH: Final = "watch_health"
RESTORE_TRAFFIC: Final = "restore_traffic"
APPLY_MITIGATION: Final = "apply_mitigation"
DRAIN_POOL: Final = "drain_pool"

# Commands: each one is an update and a signal of the same name.
APPROVE: Final = "approve"
REJECT: Final = "reject"
HOLD: Final = "hold"
RESUME: Final = "resume"
ADVANCE: Final = "advance"
ABORT: Final = "abort"
COMMANDS: Final = (APPROVE, REJECT, HOLD, RESUME, ADVANCE, ABORT)

# Queries.
STATUS: Final = "status"
PLAN: Final = "plan"

# Search attributes and their types, as the Temporal server spells them.
SERVICE: Final = "RolloutService"
ENVIRONMENT: Final = "RolloutEnvironment"
STRATEGY: Final = "RolloutStrategy"
PHASE: Final = "RolloutPhase"
VERSION: Final = "RolloutVersion"
PERCENT: Final = "RolloutPercent"
SEARCH_ATTRIBUTES: Final = {
    SERVICE: "Keyword",
    ENVIRONMENT: "Keyword",
    STRATEGY: "Keyword",
    PHASE: "Keyword",
    VERSION: "Keyword",
    PERCENT: "Int",
}

# Failure types of a closed run (the class names of `rollout.errors`).
FAILURES: Final = ("RolledBack", "Aborted", "Rejected", "Expired", "Refused", "BadInput")


OWNER = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}"
"""What a workflow ID must look like: routers keep it as their owner's mark, in configurations and tags."""


def workflow_id(environment: str, service: str) -> str:
    """The ID of the one rollout that may run for a service in an environment: it is the lock."""
    return f"rollout:{environment}/{service}"
