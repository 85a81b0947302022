"""How many events come at once, on histories of which we know it."""

from collections.abc import Callable

import numpy as np
import pytest

from rollout.judge.dispersion import ASSUMED, TOWARDS, Block, Dispersion, dispersion, given, neighbours

SIX_HOURS = 1440  # blocks of 15 s
Pods = dict[str, list[Block]]
Sizes = Callable[[int], "np.ndarray[tuple[int], np.dtype[np.int64]]"]


def history(
    seed: int,
    *,
    pods: int = 12,
    per_second: float = 100,
    share: float = 0.005,
    clusters: Sizes | None = None,
    mean: float = 1,
    sigma: float = 0,
    blocks: int = SIX_HOURS,
    common: "np.ndarray[tuple[int], np.dtype[np.float64]] | float" = 1.0,
) -> Pods:
    """Pods that share the load: errors in clusters, pods that differ by a lognormal factor, and a common factor."""
    draw = np.random.default_rng(seed)
    found: Pods = {}
    for number in range(pods):
        own = np.exp(sigma * draw.standard_normal() - sigma**2 / 2)
        trials = draw.poisson(per_second * 15 / pods, blocks)
        bursts = draw.binomial(trials, np.minimum(share * own * common / mean, 1) * np.ones(blocks))
        events = bursts if clusters is None else np.array([clusters(count).sum() for count in bursts])
        found[f"checkout-{number}"] = list(zip(trials.tolist(), events.tolist(), strict=True))
    return found


def mean_phi(**kind: object) -> float:
    return float(np.mean([dispersion(history(seed, **kind)).phi for seed in range(5)]))  # type: ignore[arg-type]  # options


def constant(size: int) -> Sizes:
    return lambda count: np.full(count, size)


def geometric(seed: int) -> Sizes:
    draw = np.random.default_rng(seed)
    return lambda count: draw.geometric(1 / 3, count)


@pytest.mark.parametrize("per_second", [10, 100, 1000])
def test_independent_errors_have_no_dispersion(per_second: int) -> None:
    assert 1 <= mean_phi(per_second=per_second) < 1.06


@pytest.mark.parametrize("size", [2, 3, 10])
def test_clusters_of_one_size_have_that_dispersion(size: int) -> None:
    assert mean_phi(clusters=constant(size), mean=size) == pytest.approx(size, rel=0.08)


def test_clusters_of_many_sizes_weigh_the_great_ones() -> None:
    assert mean_phi(clusters=geometric(7), mean=3) == pytest.approx(5, rel=0.1)  # E[size²] / E[size] = 15 / 3


def test_greater_clusters_never_mean_less() -> None:
    phis = [mean_phi(clusters=constant(size), mean=size) for size in (1, 2, 4, 8, 16)]
    assert phis == sorted(phis)


def test_pods_that_differ_count_where_there_is_enough_traffic_to_see_it() -> None:
    assert mean_phi(sigma=0.15, per_second=10) < 1.2
    assert 2 < mean_phi(sigma=0.15, per_second=1000) < 6
    assert mean_phi(sigma=0.15, per_second=1000) < mean_phi(sigma=0.3, per_second=1000)


def test_an_outage_of_all_pods_is_no_dispersion() -> None:
    minutes = np.ones(SIX_HOURS)
    minutes[480:488] = 20
    assert mean_phi(common=minutes) < 1.2


def test_a_busy_hour_is_no_dispersion() -> None:
    assert mean_phi(common=10 ** np.sin(np.arange(SIX_HOURS) / 240)) < 1.1


def test_proportions_leave_less_room() -> None:
    pods = history(1, share=0.45)
    assert dispersion(pods, kind="odds").phi == pytest.approx(1, abs=0.1)
    assert dispersion(pods, kind="odds").phi >= dispersion(pods).phi


def test_the_answer_says_where_it_is_from() -> None:
    pods = history(1)
    errors = sum(events for blocks in pods.values() for _, events in blocks)
    assert dispersion(pods).source == f"estimated from 6h of 12 pods, {errors} errors"
    assert "slow requests" in dispersion(pods, noun="slow requests").source


def test_the_answer_is_the_same_everywhere() -> None:
    pods = history(1, sigma=0.3)
    assert dispersion(pods) == dispersion(dict(reversed(pods.items())))


@pytest.mark.parametrize(
    ("pods", "source"),
    [
        ({}, "no history: 3 assumed"),
        ({"a": [(0, 0)] * SIX_HOURS}, "no history: 3 assumed"),
        ({"a": [(9, 1)] * 119}, "only 29m45s of history: 3 assumed"),
        ({"a": [(9, 1)] * 19 + [(9, 0)] * 1421}, "only 19 errors in 6h of history: 3 assumed"),
        ({"a": [(9, 1)] * 119, "b": [(9, 1)] * 119}, "only 29m45s of history: 3 assumed"),
        ({"a": [(9, 0)] * 1440, "b": [(9, 0)] * 1421 + [(9, 1)] * 19}, "only 19 errors in 6h of history: 3 assumed"),
    ],
)
def test_where_nothing_is_known_three_is_assumed_and_said(pods: Pods, source: str) -> None:
    assert dispersion(pods) == Dispersion(phi=ASSUMED, source=source)


def test_half_an_hour_and_twenty_errors_are_enough() -> None:
    assert (
        "estimated from 30m of 2 pods, 20 errors"
        in dispersion({"a": [(9, 0)] * 120, "b": [(9, 1)] * 20 + [(9, 0)] * 100}).source
    )


def test_pods_that_were_not_there_all_the_time_are_blocks_of_nothing() -> None:
    assert dispersion({"old": [(9, 1)] * 200 + [(0, 0)] * 200, "new": [(0, 0)] * 200 + [(9, 1)] * 200}).phi == 7.5 / 5


def test_pods_have_the_same_blocks() -> None:
    with pytest.raises(ValueError, match="the same blocks"):
        dispersion({"a": [(1, 0)], "b": []})


# ── One pod, and recordings: neighbours in time ─────────────────────────────────────────────────


def alone(seed: int, **kind: object) -> list[Block]:
    return history(seed, pods=1, **kind)["checkout-0"]  # type: ignore[arg-type]  # options


def mean_of_neighbours(**kind: object) -> float:
    return float(np.mean([neighbours(alone(seed, **kind)) for seed in range(5)]))


@pytest.mark.parametrize("per_second", [10, 100, 1000])
def test_one_pod_s_independent_errors_have_no_dispersion(per_second: int) -> None:
    assert 1 <= mean_of_neighbours(per_second=per_second) < 1.1


@pytest.mark.parametrize("size", [2, 3, 10])
def test_one_pod_s_clusters_have_their_size(size: int) -> None:
    assert mean_of_neighbours(clusters=constant(size), mean=size) == pytest.approx(size, rel=0.15)


@pytest.mark.parametrize("clusters", [None, constant(3)])
def test_an_outage_of_a_single_pod_moves_its_dispersion_little(clusters: Sizes | None) -> None:
    minutes = np.ones(SIX_HOURS)
    minutes[481:489] = 20
    size = 3 if clusters else 1
    assert mean_of_neighbours(common=minutes, clusters=clusters, mean=size) == pytest.approx(size, rel=0.2)


def test_a_single_pod_s_busy_hour_is_hardly_dispersion() -> None:
    assert mean_of_neighbours(common=10 ** np.sin(np.arange(SIX_HOURS) / 240)) < 1.3


def test_neighbouring_proportions_leave_less_room() -> None:
    blocks = alone(1, share=0.45)
    assert neighbours(blocks, kind="odds") == pytest.approx(1, abs=0.15)
    assert neighbours(alone(1, share=0.45, clusters=constant(2), mean=2), kind="odds") > 1.5


def test_without_events_neighbours_are_taken_for_nearly_independent() -> None:
    for blocks in ([], [(0, 0)] * 9, [(9, 0)] * 99, [(9, 3)], [(9, 3), (0, 0)] * 9):
        assert neighbours(blocks) == pytest.approx(TOWARDS)


def test_the_more_events_the_less_is_imagined() -> None:
    burst = [(100, 10), (100, 0)]
    phis = [neighbours(burst * many) for many in (0, 1, 2, 4, 20, 200)]
    assert phis == sorted(phis)
    assert phis[-1] == pytest.approx(10, rel=0.1)


def test_one_pod_s_past_is_compared_with_itself() -> None:
    blocks = alone(1, clusters=constant(3), mean=3)
    found = dispersion({"a": blocks})
    errors = sum(events for _, events in blocks)
    assert found.phi == neighbours(blocks)
    assert found.source == f"estimated from neighbouring scrapes of one pod, 6h, {errors} errors"


def test_what_the_spec_says_is_taken() -> None:
    assert given(2) == Dispersion(phi=2, source="given in the spec")
