"""How many healthy targets a share needs."""

import pytest

from activities.routers.alb.health import Health, lacking


def health(**counts: int) -> Health:
    return Health(states={(state, ""): count for state, count in counts.items()})


@pytest.mark.parametrize(
    ("candidate", "stable", "percent", "least", "ready"),
    [
        (health(healthy=1), health(healthy=1), 100, None, True),
        (health(healthy=1), health(healthy=20), 5, None, True),
        (health(healthy=1), health(healthy=21), 5, None, False),
        (health(healthy=5), health(healthy=20), 25, None, True),
        (health(healthy=19), health(healthy=20), 100, None, False),
        (health(healthy=2, initial=9), health(healthy=20), 50, None, False),
        (health(healthy=10, unhealthy=3), health(healthy=20), 50, None, True),
        (health(healthy=3), health(healthy=20), 50, 3, True),
        (health(healthy=2), health(healthy=1), 1, 3, False),
        (health(unhealthy=4), health(healthy=1), 1, None, False),
        (health(unhealthy=4), health(unhealthy=4), 1, None, False),
        (health(healthy=1), health(unhealthy=4), 1, None, True),
        (health(), None, 1, None, False),
        (Health(states={("unavailable", "Target.HealthCheckDisabled"): 1}), None, 1, None, True),
    ],
)
def test_a_group_is_ready_for_its_share_of_stables_targets(
    candidate: Health, stable: Health | None, percent: float, least: int | None, ready: bool
) -> None:
    assert (lacking(candidate, stable, percent, least) is None) == ready


def test_what_is_lacking_is_told_with_counts_and_reasons() -> None:
    states = {("healthy", ""): 1, ("unhealthy", "Target.ResponseCodeMismatch"): 2}
    lack = lacking(Health(states=states), health(healthy=4), 50, None)
    assert lack == (
        "50 % needs 2 healthy targets, and there are 1: 1 healthy, 2 unhealthy (Target.ResponseCodeMismatch)"
    )
    assert str(lacking(Health(states={}), None, 5, None)).endswith("no targets at all")
