import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from activities.aws import AwsClients, AwsConnection
from activities.ports import Write
from activities.routers.lambda_alias import LambdaAliasRouter
from rollout.errors import (
    Drifted,
    Misconfigured,
    NotPermitted,
    RouteRejected,
    RouterUnreachable,
    SluiceError,
    Superseded,
    Throttled,
)
from rollout.routes import LambdaAliasRoute
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_stand import account
from tests.activities.routers.contract import OWNER, RouterContract, Stand, canaries, proven, until

FAULTS: dict[str, tuple[dict[str, Any], type[SluiceError]]] = {
    "throttled": ({"throttle": ["GetAlias"]}, Throttled),
    "denied": ({"deny": ["UpdateAlias"]}, NotPermitted),
    "silent": ({"hang": ["UpdateAlias"]}, RouterUnreachable),
    "busy": ({"lambda_busy": True}, RouterUnreachable),
}
WORDS = "Checkout, live traffic"
VERSIONS = {"1": "stable", "2": "canary"}


class LambdaStand(Stand):
    """Two aliases of a function with two versions; a visit is an invocation."""

    troubles = {name: error for name, (_, error) in FAULTS.items()}  # noqa: RUF012 - as the base class has it

    def __init__(self, aws: SimulatedAws, threads: ThreadPoolExecutor) -> None:
        self.aws, self._threads = aws, threads
        self.api = self.worker()
        self._route = LambdaAliasRoute.model_validate(aws.lambda_route("cloud"))
        self._lambda = aws.client("lambda")

    def worker(self, **settings: float) -> AwsClients:
        """What one worker has of AWS; another one knows nothing of what this one remembers."""
        quick = {"calls_per_second": 1000, "settle": 0, "remember": 0, "timeout_s": 1, **settings}
        told = {"region": self.aws.region, "endpoint_url": self.aws.endpoint_url, **quick}
        return AwsClients(AwsConnection.model_validate(told), self._threads)

    def router(
        self, names: dict[str, str] | None = None, *, unknown_candidate: bool = False, api: AwsClients | None = None
    ) -> LambdaAliasRouter:
        changed = {"candidate": "ghost"} if unknown_candidate else names or {}
        return LambdaAliasRouter(self._route.model_copy(update=changed), api or self.api)

    def other_router(self) -> LambdaAliasRouter:
        return self.router({"alias": "beta"})

    def written(self) -> object:
        return self.alias()["RevisionId"]

    async def drift(self, percent: float) -> None:
        self.by_hand("1", {"2": percent / 100})

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        self.aws.fault(**FAULTS[name][0])
        try:
            yield
        finally:
            self.aws.heal()

    async def visit(self, visits: int, headers: dict[str, str] | None = None) -> list[str]:
        loop = asyncio.get_running_loop()
        asked = (loop.run_in_executor(self._threads, self.aws.invoke, "checkout:live") for _ in range(visits))
        return [VERSIONS[version] for version in await asyncio.gather(*asked)]

    def alias(self) -> dict[str, Any]:
        """What AWS says about the alias."""
        return dict(self._lambda.get_alias(FunctionName="checkout", Name="live"))

    def by_hand(self, version: str, weights: dict[str, float], **more: str) -> None:
        """What another person writes."""
        config = {"AdditionalVersionWeights": weights}
        names = {"FunctionName": "checkout", "Name": "live"}
        self._lambda.update_alias(**names, FunctionVersion=version, RoutingConfig=config, **more)

    def third_version(self) -> str:
        """Somebody publishes one more; its number."""
        names = {"FunctionName": "checkout", "Publish": True}
        code = self.aws.client("lambda").get_function(FunctionName="checkout")["Configuration"]["CodeSha256"]
        return str(self._lambda.update_function_code(**names, ZipFile=code.encode())["Version"])


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
    with account(tmp_path_factory.mktemp("lambda")) as bed:
        bed.lambda_route("cloud")
        bed.client("lambda").create_alias(FunctionName=bed.service, Name="beta", FunctionVersion="1")
        yield bed


@pytest.mark.server
class TestLambdaAlias(RouterContract):
    @pytest.fixture
    async def stand(self, aws: SimulatedAws) -> AsyncIterator[LambdaStand]:
        aws.reset()
        with ThreadPoolExecutor(16) as threads:
            stand = LambdaStand(aws, threads)
            stand.by_hand("1", {}, Description=WORDS)
            none: dict[str, Any] = {"AdditionalVersionWeights": {}}
            names = {"FunctionName": "checkout", "Name": "beta"}
            aws.client("lambda").update_alias(**names, FunctionVersion="1", RoutingConfig=none, Description="")
            aws.forget_calls()
            yield stand
            aws.heal()
            await stand.api.aclose()

    async def test_weights_and_mark_move_in_one_call_behind_the_operators_words(self, stand: LambdaStand) -> None:
        await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        alias = stand.alias()
        assert alias["Description"] == f"{WORDS} [sluice epoch=1 owner={OWNER} percent=5]"
        assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.05}}
        assert [call["error"] for call in stand.aws.calls("UpdateAlias")] == [None]

    async def test_of_two_workers_with_the_same_revision_one_wins_and_the_other_is_fenced_again(
        self, stand: LambdaStand
    ) -> None:
        workers = [stand.router(api=stand.worker()) for _ in range(2)]
        stand.aws.fault(delay=["GetAlias"], delay_s=0.3)
        writes = [Write(percent=10 * epoch, epoch=epoch, owner=OWNER) for epoch in (1, 2)]
        done = await asyncio.gather(
            *(worker.write(each) for worker, each in zip(workers, writes, strict=True)), return_exceptions=True
        )
        errors = [call["error"] for call in stand.aws.calls("UpdateAlias")]
        assert errors.count("PreconditionFailedException") == 1
        stand.aws.heal()
        assert (await proven(stand.router(), 20)).epoch == 2
        # The older one was first and is overwritten, or second and gives way; the newer one gets through.
        assert (type(done[0]), type(done[1])) in {(type(None), type(None)), (Superseded, type(None))}

    async def test_of_many_workers_the_newest_is_what_stays(self, stand: LambdaStand) -> None:
        writes = [Write(percent=epoch, epoch=epoch, owner=OWNER) for epoch in range(1, 5)]
        done = await asyncio.gather(
            *(stand.router(api=stand.worker()).write(each) for each in writes), return_exceptions=True
        )
        assert {type(each) for each in done} <= {type(None), Superseded}
        assert (await proven(stand.router(), 4)).epoch == 4

    async def test_an_answer_that_was_lost_is_found_done_by_the_next_attempt(self, stand: LambdaStand) -> None:
        write = Write(percent=25, epoch=1, owner=OWNER)
        stand.aws.fault(lose_answer=["UpdateAlias"])
        with pytest.raises(RouterUnreachable):
            await stand.router().write(write)
        stand.aws.heal()
        before = stand.written()
        await stand.router().write(write)
        assert stand.written() == before
        assert (await proven(stand.router(), 25)).epoch == 1

    @pytest.mark.parametrize("fault", [{"throttle": ["Get*"]}, {"deny": ["Get*"]}, {"hang": ["Get*"]}])
    async def test_the_way_back_is_written_although_aws_does_not_tell_what_is_there(
        self, stand: LambdaStand, fault: dict[str, Any]
    ) -> None:
        router = stand.router()
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        stand.aws.fault(**fault)
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        stand.aws.heal()
        assert stand.alias()["Description"] == f"{WORDS} [sluice epoch=2 percent=0]"
        assert await canaries(stand, 20) == 0

    async def test_a_blind_way_back_overwrites_nobody_who_was_there_meanwhile(self, stand: LambdaStand) -> None:
        router = stand.router()
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await stand.router(api=stand.worker()).write(Write(percent=75, epoch=9, owner=OWNER))
        stand.aws.fault(throttle=["Get*"])
        with pytest.raises(Throttled):
            await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        stand.aws.heal()
        assert (await proven(router, 75)).epoch == 9
        with pytest.raises(Superseded):
            await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))

    async def test_a_write_is_believed_only_when_it_had_time_to_get_everywhere(self, stand: LambdaStand) -> None:
        api = stand.worker(settle=0.5)
        assert (await stand.router(api=api).read()).in_force == 0
        await stand.router(api=api).write(Write(percent=25, epoch=1, owner=OWNER))
        for worker in (api, stand.worker(settle=0.5)):  # a worker that did not write it cannot know when it was
            state = await stand.router(api=worker).read()
            assert (state.percent, state.in_force, state.proof) == (25, None, "")
            assert state.problem is not None
            assert "AWS is believed after 0.5 s" in state.problem
            state = await proven(stand.router(api=worker), 25)
            assert "epoch 1" in state.proof
            assert state.problem is None
        await stand.router(api=api).write(Write(percent=25, epoch=2, owner=OWNER, release=True))
        state = await stand.router(api=api).read()
        assert (state.in_force, state.problem) == (None, None)  # nothing speaks against the next rollout

    @pytest.mark.parametrize("fault", ["throttle", "deny", "hang"])
    async def test_zero_is_proven_although_aws_does_not_tell_of_the_versions_and_nothing_is_raised(
        self, stand: LambdaStand, fault: str
    ) -> None:
        await stand.router().write(Write(percent=50, epoch=1, owner=OWNER))
        stand.aws.fault(**{fault: ["GetFunctionConfiguration"]})
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        state = await proven(stand.router(), 0)
        assert state.epoch == 2
        assert state.healthy == {"candidate": 0, "stable": 0}
        assert "lambda GetFunctionConfiguration" in str(state.problem)
        before = stand.written()
        with pytest.raises(SluiceError):
            await stand.router().write(Write(percent=5, epoch=3, owner=OWNER))
        assert stand.written() == before

    async def test_versions_that_aws_does_not_tell_of_hold_no_proof_up(self, stand: LambdaStand) -> None:
        stand.aws.fault(hang=["GetFunctionConfiguration"])
        async with asyncio.timeout(10):
            state = await stand.router(api=stand.worker(timeout_s=30)).read()
        assert (state.in_force, state.problem) == (
            0,
            "lambda GetFunctionConfiguration was not answered within 1 s",
        )

    async def test_the_proof_says_for_how_long_the_alias_has_been_so(self, stand: LambdaStand) -> None:
        api = stand.worker(settle=0.5)
        assert "described so since before it was first looked at" in (await stand.router(api=api).read()).proof
        await stand.router(api=api).write(Write(percent=25, epoch=1, owner=OWNER))
        state = await proven(stand.router(api=api), 25)
        assert re.search(r"epoch 1 gives .*; described so for \d+ s$", state.proof)

    async def test_a_version_that_somebody_else_deployed_is_named_and_not_overwritten_by_a_raise(
        self, stand: LambdaStand
    ) -> None:
        third = stand.third_version()
        stand.by_hand(third, {})
        state = await stand.router().read()
        assert (state.percent, state.in_force) == (0, None)
        assert state.problem == (
            f"alias checkout:live leads to version {third}, neither the candidate 2 nor stable 1: "
            "somebody else changed it"
        )
        before = stand.written()
        with pytest.raises(Drifted, match="nothing was written"):
            await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before
        await stand.router().write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(stand.router(), 0)
        assert await canaries(stand, 20) == 0

    async def test_what_aws_refuses_leaves_the_alias_as_it_was(self, stand: LambdaStand) -> None:
        router = stand.router({"stable": "$LATEST"})  # no spec can say so; AWS weighs published versions only
        stand.by_hand("$LATEST", {})
        before = stand.written()
        with pytest.raises(RouteRejected, match="the alias is as it was"):
            await router.write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before

    @pytest.mark.parametrize("names", [{"alias": "nobody"}, {"function": "nothing"}])
    async def test_a_name_that_is_wrong_is_said_with_what_to_do(
        self, stand: LambdaStand, names: dict[str, str]
    ) -> None:
        with pytest.raises(Misconfigured, match="create the alias on version 1"):
            await stand.router(names).read()
        with pytest.raises(Misconfigured, match="does not exist in"):
            await stand.router(names).write(Write(percent=0, epoch=1, owner=OWNER))

    async def test_nothing_is_in_flight_because_lambda_does_not_tell(self, stand: LambdaStand) -> None:
        assert await stand.router().in_flight("candidate") == 0

    async def test_a_write_whose_caller_is_cancelled_is_finished(self, stand: LambdaStand) -> None:
        stand.aws.fault(delay=["GetAlias"], delay_s=0.2)
        writing = asyncio.ensure_future(stand.router().write(Write(percent=25, epoch=1, owner=OWNER)))
        await asyncio.sleep(0.05)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

        async def is_written() -> bool:
            return "percent=25]" in stand.alias()["Description"]

        await until(is_written)
