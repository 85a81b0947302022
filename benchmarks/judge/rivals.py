"""What people use today, each a function from the counts to the second at which it rolls back.

Written from the descriptions in the sources named at each; all are given the same counts and no ingest lag. `NEVER`
where a method lets the rollout pass.
"""

from collections.abc import Callable
from math import log
from statistics import NormalDist

import numpy as np

from benchmarks.judge.ours import NEVER, times
from benchmarks.judge.world import Bools, Counts, Floats, Ints
from rollout.judge.kayenta import Label, classify

Rival = Callable[[Counts], Floats]


def alert(counts: Counts, limit: float = 0.05, window_s: int = 300, for_s: int = 120, every_s: int = 15) -> Floats:
    """The article's rule: candidate's 5xx ratio over `rate[5m]` above 5 % for two minutes (Prometheus, `for:`).

    Evaluated every 15 s, so nine bad evaluations in a row. Without requests the ratio is NaN and the clock restarts.
    """
    counts = counts.every(every_s)
    bad = _moving(counts.x_c, window_s // every_s) > limit * _moving(counts.n_c, window_s // every_s)
    run, needed = np.zeros(counts.paths, np.int64), for_s // every_s + 1
    fires = np.zeros(bad.shape, np.bool_)
    for row, now in enumerate(bad):
        run = np.where(now, run + 1, 0)
        fires[row] = run >= needed
    return times(fires, every_s)


def _moving(rows: Ints, window: int) -> Ints:
    total = np.cumsum(rows, 0)
    total[window:] -= total[:-window].copy()
    return total


def flagger(counts: Counts, least: float = 0.99, threshold: int = 5, every_s: int = 60) -> Floats:
    """Flagger's metric check: success below 99 % in `threshold` intervals, cumulative, acted on one interval later.

    No traffic counts as a failed check, as there (fluxcd/flagger, `pkg/controller`).
    """
    counts = counts.every(every_s)
    bad = (counts.n_c == 0) | (counts.n_c - counts.x_c < least * counts.n_c)
    return times(np.cumsum(bad, 0) >= threshold, every_s) + every_s


def argo(counts: Counts, least: float = 0.99, limit: int = 3, every_s: int = 60) -> Floats:
    """Argo Rollouts' analysis: more than `limit` failed measurements, cumulative (`failureLimit`)."""
    counts = counts.every(every_s)
    bad = (counts.n_c > 0) & (counts.n_c - counts.x_c < least * counts.n_c)
    return times(np.cumsum(bad, 0) > limit, every_s)


def kayenta(counts: Counts, interval_s: int = 1200, step_s: int = 60) -> Floats:
    """Kayenta with its defaults: error percent every minute, one critical metric, three judgements that grow.

    The control is a fresh baseline as large as the candidate, as its documentation advises. Only for rollouts for
    which one was drawn. The judge is `rollout.judge.kayenta`, which passes Kayenta's own test suite.
    """
    counts = counts.every(step_s)
    few = counts.n_e.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ours = 100 * counts.x_c[:, :few] / counts.n_c[:, :few]
        control = 100 * counts.x_e / counts.n_e
    step = interval_s // step_s
    ends = range(step, len(ours) + 1, step)
    found = [_judged(ours[:, path], control[:, path], ends) for path in range(few)]
    return np.array(found) * step_s


def _judged(ours: Floats, control: Floats, ends: range) -> float:
    for end in ends:
        label = classify(ours[:end].tolist(), control[:end].tolist(), direction="increase").label
        if label is Label.HIGH:
            return float(end)
    return NEVER


def z_test(counts: Counts, alpha: float = 0.001, every_s: int = 3600) -> Floats:
    """Two proportions, pooled variance, one-sided: asked once at the end, as it is meant, or every `every_s`."""
    step = every_s // counts.scrape_s
    n_c, x_c, n_b, x_b = (np.cumsum(part, 0)[step - 1 :: step].astype(float) for part in _four(counts))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (x_c + x_b) / (n_c + n_b)
        z = (x_c / n_c - x_b / n_b) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_b))
    return times(z > NormalDist().inv_cdf(1 - alpha), every_s)


def lindon_malek(counts: Counts, share: float = 0.05, alpha: float = 0.001, k: float = 100.0) -> Floats:
    """Whose error was it, against the commanded split: Bayes factor with a Dirichlet prior (arXiv 2011.03567).

    log B((kθ + x_c, k(1-θ) + x_b)) - log B((kθ, k(1-θ))) - x_c·log θ - x_b·log(1-θ); two-sided, of which the side
    "candidate has more" is counted. For a split that is constant.
    """
    x_c, x_b = np.cumsum(counts.x_c, 0), np.cumsum(counts.x_b, 0)
    a, b = _rising(k * share, x_c), _rising(k * (1 - share), x_b)
    bayes = a + b - _rising(k, x_c + x_b) - x_c * log(share) - x_b * log(1 - share)
    return times((bayes >= log(1 / alpha)) & (x_c > share * (x_c + x_b)), counts.scrape_s)


def _rising(start: float, upto: Ints) -> Floats:
    """Log Γ(start + x) - log Γ(start) for whole x."""
    table = np.concatenate([[0.0], np.cumsum(np.log(start + np.arange(upto.max(initial=0))))])
    looked_up: Floats = table[upto]
    return looked_up


def asymptotic(counts: Counts, alpha: float = 0.05, tune: float = 5000.0) -> Floats:
    """One-sided asymptotic confidence sequence on p_c - p_b, tuned at 5000 requests (GrowthBook's safe rollouts)."""
    n_c, x_c, n_b, x_b = (np.cumsum(part, 0).astype(float) for part in _four(counts))
    level = -2 * log(2 * alpha)
    rho2 = (level + log(level + 1)) / tune
    with np.errstate(invalid="ignore", divide="ignore"):
        p_c, p_b, n = x_c / n_c, x_b / n_b, n_c + n_b
        variance = p_c * (1 - p_c) / np.maximum(n_c - 1, 1) + p_b * (1 - p_b) / np.maximum(n_b - 1, 1)
        grown = n * rho2 + 1
        half = np.sqrt(2 * variance * grown / (n * rho2) * np.log1p(np.sqrt(grown) / (2 * alpha)))
        hits: Bools = (p_c - p_b > half) & (x_c > 0) & (x_b > 0)
    return times(hits, counts.scrape_s)


def known(counts: Counts, p_c: float, p_b: float, alpha: float = 0.001) -> Floats:
    """Wald's test for someone who knows both error ratios beforehand: what physics allows."""
    step = counts.x_c * log(p_c / p_b) + (counts.n_c - counts.x_c) * log((1 - p_c) / (1 - p_b))
    return times(np.cumsum(step, 0) >= log(1 / alpha), counts.scrape_s)


def _four(counts: Counts) -> tuple[Ints, Ints, Ints, Ints]:
    return counts.n_c, counts.x_c, counts.n_b, counts.x_b


RIVALS: dict[str, Rival] = {
    "article's rule": alert,
    "Flagger 5×60 s": flagger,
    "Argo limit 3": argo,
    "Kayenta 3×20 min": kayenta,
    "z-test at the end": z_test,
    "z-test every 60 s": lambda counts: z_test(counts, every_s=60),
    "Lindon–Malek": lindon_malek,
    "asymptotic CS 5 %": asymptotic,
}
