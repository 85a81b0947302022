"""Visitors, while whole rollouts are promoted and taken back: none of them may notice."""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rollout import names
from rollout.happened import Phase
from testbed.kubernetes import Plane
from testbed.programs import Load, Shop
from tests.acceptance.playing import acceptance
from tests.acceptance.sites import CANDIDATE, STABLE
from tests.acceptance.trial import ClusterTrial, ClusterTrials
from tests.workflows.trial import ladder, stage

RATE = 40.0


def opened(stack: ExitStack, trials: ClusterTrials, trial: ClusterTrial) -> Load:
    """Shops behind the pods, a plane that follows the site's objects, and visitors in front."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    shops = {name: stack.enter_context(Shop(folder, version=name)) for name in ("stable", "canary")}
    places = {name: f"127.0.0.1:{shop.port}" for name, shop in shops.items()}
    plane = Plane(folder, trials.control_plane, trial.site.namespace, kind="gateway-api", shops=places)
    stack.enter_context(plane)
    return stack.enter_context(Load(folder, url=plane.url, rate=RATE))


@acceptance
async def test_no_visitor_is_lost_while_one_release_is_taken_back_and_the_next_is_promoted(
    trials: ClusterTrials,
) -> None:
    trial = await trials.of(strategy={"stages": [stage(50, "1h"), stage(100)]}, pods=3)
    with ExitStack() as stack:
        load = await trial.do(opened, stack, trials, trial)
        await trial.begun()
        await trial.until_baking()
        await trial.until_there(lambda: load.report().versions["canary"], "the candidate is visited")
        await trial.signal(names.ABORT)
        await trial.went_back(Phase.ABORTED)
        await trial.again(strategy=ladder(50, 100))
        await trial.promoted()
        seen = await trial.do(lambda: load.report().versions["canary"])
        await trial.until_there(lambda: load.report().versions["canary"] > seen + RATE, "it is visited at the end")
        report = await asyncio.to_thread(load.finish)
    assert (report.dropped, report.bad_responses) == ({}, 0)
    assert await trial.do(trial.site.available, STABLE) == await trial.do(trial.site.available, CANDIDATE) == 3
