"""The evaluator that stands in for flagd: its answers have the shape that OpenFeature's own provider understands."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, GeneralError
from openfeature.flag_evaluation import Reason

from testbed.flags.ofrep import Evaluator, Fault
from testbed.part import Part, answers
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, free_ports

Client = TestClient[web.Request, web.Application]
USER = EvaluationContext("ana", {"email": "ana@example.com"})


class Stand:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "flags.json"
        self.evaluator = Evaluator(self.file)
        self.put(on={"defaultVariant": "on"}, beta={"targeting": {"if": [{"var": "email"}, "on", None]}})

    def put(self, **flags: Any) -> None:
        sound = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
        document = {"flags": {key: sound | fields for key, fields in flags.items()}, "metadata": {"flagSetId": "shop"}}
        fresh = self.file.with_name("fresh")
        fresh.write_text(json.dumps(document))
        fresh.replace(self.file)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


@pytest.fixture
async def client(stand: Stand) -> AsyncIterator[Client]:
    async with TestClient(TestServer(stand.evaluator.application())) as running:
        yield running


async def asked(client: Client, key: str, body: object = None) -> tuple[int, Any]:
    context = {"context": {"targetingKey": "ana"}} if body is None else body
    async with client.post(f"/ofrep/v1/evaluate/flags/{key}", json=context) as answer:
        return answer.status, await answer.json()


async def test_openfeatures_provider_understands_it(client: Client) -> None:
    provider = OFREPProvider(str(client.make_url("/")))

    def details(key: str) -> Any:
        return provider.resolve_boolean_details(key, False, USER)

    found = await asyncio.to_thread(details, "on")
    assert (found.value, found.variant, found.reason) == (True, "on", Reason.STATIC)
    assert found.flag_metadata == {"flagSetId": "shop"}
    assert (await asyncio.to_thread(details, "beta")).reason == Reason.TARGETING_MATCH
    with pytest.raises(FlagNotFoundError):
        await asyncio.to_thread(details, "ghost")


async def test_answers_have_the_shape_of_flagds(client: Client, stand: Stand) -> None:
    stand.put(
        off={"state": "DISABLED"},
        wrong={"targeting": {"fractional": [["ghost", 1]]}},
        nothing={"defaultVariant": None},
    )
    metadata = {"flagSetId": "shop"}
    assert await asked(client, "off") == (200, {"key": "off", "reason": "DISABLED", "metadata": metadata})
    assert await asked(client, "nothing") == (200, {"key": "nothing", "reason": "DEFAULT", "metadata": metadata})
    assert (await asked(client, "wrong"))[0] == 400
    assert (await asked(client, "wrong"))[1]["errorCode"] == "GENERAL"
    assert (await asked(client, "off", [1]))[1]["errorCode"] == "INVALID_CONTEXT"
    assert (await asked(client, "off", {"context": 1}))[0] == 400


async def test_a_replaced_file_is_read_and_a_broken_or_missing_one_changes_nothing(
    client: Client, stand: Stand
) -> None:
    assert (await asked(client, "on"))[1]["variant"] == "on"
    stand.put(on={})
    assert (await asked(client, "on"))[1]["variant"] == "off"
    async with client.get("/health") as healthy:
        assert healthy.status == 200
    for content in ("{", '{"flags": {"on": {"state": "MAYBE"}}}', None):
        stand.file.unlink() if content is None else stand.file.write_text(content)
        assert (await asked(client, "on"))[1]["variant"] == "off"
        async with client.get("/health") as ill:
            assert (ill.status, bool((await ill.json())["problem"])) == (503, True)
    stand.put(on={"defaultVariant": "on"})
    assert (await asked(client, "on"))[1]["variant"] == "on"


async def test_its_faults(client: Client, stand: Stand) -> None:
    await asked(client, "on")
    async with client.post("/-/fault", json={"frozen": True}) as done:
        assert (await done.json())["frozen"]
    stand.put(on={})
    assert (await asked(client, "on"))[1]["variant"] == "on"
    stand.evaluator.fault = Fault(status=503)
    assert (await asked(client, "on"))[0] == 503
    stand.evaluator.fault = Fault(status=429)
    with pytest.raises(GeneralError):
        await asyncio.to_thread(OFREPProvider(str(client.make_url("/"))).resolve_boolean_details, "on", False, USER)
    stand.evaluator.fault = Fault(slow_s=5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asked(client, "on"), 0.1)
    async with client.post("/-/fault", json={"frosen": True}) as refused:
        assert refused.status == 400


async def test_a_file_of_the_same_time_is_read_all_the_same(client: Client, stand: Stand) -> None:
    before = stand.file.stat().st_mtime_ns
    await asked(client, "on")
    stand.put(on={})
    os.utime(stand.file, ns=(before, before))
    assert (await asked(client, "on"))[1]["variant"] == "off"


class Program(Part):
    def __init__(self, folder: Path, file: Path) -> None:
        super().__init__("ofrep", folder)
        self.file, self.port = file, free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str | Path]:
        return [sys.executable, "-m", "testbed.flags.ofrep", "--file", self.file, "--port", str(self.port)]

    def environment(self) -> dict[str, str | None]:
        return {"PYTHONPATH": str(REPOSITORY)}

    def ready(self) -> bool:
        return answers(f"{self.url}/health")


@pytest.mark.server
def test_the_program_evaluates_and_takes_faults(stand: Stand, tmp_path: Path) -> None:
    with Program(tmp_path, stand.file) as program:
        asking = f"{program.url}/ofrep/v1/evaluate/flags/on"
        with httpx.Client(trust_env=False) as http:
            assert http.post(asking, json={"context": {"targetingKey": "ana"}}).json()["variant"] == "on"
            http.post(f"{program.url}/-/fault", json={"status": 503}).raise_for_status()
            assert http.post(asking, json={}).status_code == 503
