"""The judge's benchmark measures what it says: its parts against exact values and against the product."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.judge import history, ours, rivals
from benchmarks.judge.bounds import bars
from benchmarks.judge.lab import gate, masses
from benchmarks.judge.shares import Delays, Share
from benchmarks.judge.world import Counts, Floats, Stage, World, simulate
from rollout.judge.dispersion import dispersion
from rollout.judge.information import bound

TWO = World(40, 0.02, stages=(Stage(0.05, 300), Stage(0.5, 300)))


def judged(counts: Counts, world: World) -> tuple[ours.Proof, Floats]:
    proof = ours.Proof(np.random.default_rng(2), a_call=8)
    begins = ours.starts(world.stages, masses(world, gate(world=world)), counts.scrape_s)
    values = ours.Twin(gate(world=world), counts.phi).feed(counts, begins)
    proof.replay(gate(world=world), counts, begins, values)
    return proof, values


def drawn(world: World = TWO) -> Counts:
    counts = simulate(np.random.default_rng(1), world, 8)
    return replace(counts, phi=np.linspace(1, 3, 8))


def test_twin_gives_the_products_e_values_over_stages_and_dispersions() -> None:
    proof, _ = judged(drawn(), TWO)
    assert proof.paths == 8
    assert proof.holds


def test_a_wrong_twin_is_found_out() -> None:
    counts = drawn()
    begins = ours.starts(TWO.stages, masses(TWO, gate(world=TWO)), counts.scrape_s)
    proof = ours.Proof(np.random.default_rng(2))
    proof.replay(gate(world=TWO), counts, begins, 1.0001 * judged(counts, TWO)[1])
    assert not proof.holds
    proof = ours.Proof(np.random.default_rng(2))
    proof.replay(gate(world=TWO), counts, begins, np.nan * judged(counts, TWO)[1])
    assert not proof.holds


def test_dispersion_is_the_products() -> None:
    n, x = history.pods(np.random.default_rng(3), World(100, 0.005, scenario="burst"))
    assert history.phi(n, x) == pytest.approx(dispersion(history.by_pod(n, x)).phi, rel=1e-12)
    assert 4 < history.phi(n, x) < 6.5


@pytest.mark.parametrize("p_c", [0.01, 0.05, 0.2])
def test_bound_is_the_products(p_c: float) -> None:
    nats = bound(gate(), 0.05, p_c, 0.005)
    assert bars(100, p_c, 0.005).bound == pytest.approx(np.log(1000) / nats / 100, rel=1e-6)


def test_limits_of_a_share_are_clopper_and_pearsons() -> None:
    assert Share(0, 2000).upper == pytest.approx(0.0014967, rel=1e-4)
    assert Share(3, 2000).lower == pytest.approx(0.00040897, rel=1e-4)
    assert Share(61, 10000).upper == pytest.approx(0.007544, rel=0.01)


def test_a_delay_that_was_not_seen_has_no_mean() -> None:
    assert Delays(np.array([5.0, np.inf]), 3600).mean is None
    assert Delays(np.array([5.0, 15.0]), 3600).mean == 10


def test_the_articles_rule_fires_after_nine_bad_evaluations() -> None:
    rows = np.full((60, 1), 100)
    counts = Counts(5, rows, rows // 10, rows, rows * 0)
    assert rivals.alert(counts).tolist() == [135.0]
    assert np.isinf(rivals.alert(replace(counts, x_c=rows * 5 // 100))).all()


def test_scraping_less_often_loses_no_request() -> None:
    counts = drawn()
    assert counts.every(60).n_c.sum() == counts.n_c.sum()
    assert counts.every(60).x_b.shape == (10, 8)
