"""Six hours of stable before the rollout, and the dispersion φ found in them.

How unevenly errors fall on two halves of the same version, beyond chance. Errors in bursts and pods that differ show
here, outages and drifts do not (both halves share them). A pool of histories is drawn for each kind of world and every
rollout is given one of them at random: simulating six hours of forty pods for each of 20 000 rollouts would cost more
than everything else together. The estimator is `rollout.judge.dispersion` in numpy, with the same halves, so that the
two can be compared exactly.
"""

from functools import lru_cache

import numpy as np

from benchmarks.judge.world import OLD_PODS, Floats, Ints, World, drawn, factors, weather
from rollout.judge.dispersion import BLOCK_S, SCALES, SPLITS, Block, _half

HOURS = 6


def pods(rng: np.random.Generator, world: World) -> tuple[Ints, Ints]:
    """Requests and errors of every pod of stable, (blocks, pods)."""
    at = np.arange(HOURS * 3600 // BLOCK_S) * BLOCK_S
    p = weather(world.scenario, world.p_b * np.ones(len(at)), at, outage_s=7200)
    own = factors(rng, 1, OLD_PODS)[:, 0] if world.scenario == "pods" else np.ones(OLD_PODS)
    mean = np.full((len(at), 1), world.rate * BLOCK_S / OLD_PODS)
    return drawn(rng, mean, np.outer(p, own), bursts=world.scenario == "burst")


def phi(n: Ints, x: Ints) -> float:
    """For each time scale the mean over some halvings, then the greatest; at least 1."""
    chosen = halves(n.shape[1])
    half_n, half_x = n @ chosen, x @ chosen
    return max(1.0, *(_at_scale(half_n, half_x, n.sum(1), x.sum(1), scale) for scale in SCALES))


def _at_scale(half_n: Floats, half_x: Floats, n: Ints, x: Ints, scale: int) -> float:
    """Squared surplus of a half's errors over what chance would give, with five errors' worth of a prior at 1.5."""
    n_a, x_a = (part.reshape(-1, scale, SPLITS).sum(1) for part in (half_n, half_x))
    all_n, all_x = (part.reshape(-1, scale).sum(1)[:, None] for part in (n, x))
    told = (all_x > 0) & (n_a > 0) & (n_a < all_n)
    share = n_a / np.maximum(all_n, 1)
    surplus = np.where(told, (x_a - all_x * share) ** 2, 0.0).sum(0) + 7.5
    chance = np.where(told, all_x * share * (1 - share), 0.0).sum(0) + 5.0
    less = np.maximum(0.0, 1 - np.sqrt(2 / np.maximum(told.sum(0), 1))) if scale > 1 else 1.0
    return float((surplus / chance * less).mean())


@lru_cache
def halves(count: int) -> Floats:
    """1 for every pod that belongs to the half, (pods, splits)."""
    names = {str(pod): None for pod in range(count)}
    chosen = [[float(name in _half(names, split)) for split in range(SPLITS)] for name in names]
    return np.array(chosen)


def by_pod(n: Ints, x: Ints) -> dict[str, list[Block]]:
    """As the product wants it."""
    return {
        str(pod): list(zip(trials, events, strict=True))
        for pod, (trials, events) in enumerate(zip(n.T.tolist(), x.T.tolist(), strict=True))
    }
