"""The stand-in for LaunchDarkly: its answers judged by LaunchDarkly's generated client, its streams by the real SDK."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ldclient import Context, LDClient
from ldclient.config import Config

from testbed.flags.launchdarkly import Account, Caller, LaunchDarkly, Server, flag
from testbed.flags.launchdarkly.rest import SEMANTIC, VERSION

TOKEN, READER, KEY = "api-1-writer", "api-2-reader", "sdk-1-production"
FLAG, APPROVALS = "/api/v2/flags/web/new-checkout", "/api/v2/projects/web/flags/new-checkout/environments/production"
OFF = {"kind": "turnFlagOff"}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    account = Account()
    account.tokens = {TOKEN: Caller("sluice"), READER: Caller("cli", email="ann.lee@example.com", writes=False)}
    account.sdk_keys = {KEY: ("web", "production")}
    account.flags["web", "new-checkout"] = flag("web", "new-checkout", ["production", "staging"])
    async with Server(account) as running:
        yield running


async def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """One request, with the right headers unless others are given."""
    right = {"Authorization": TOKEN, "LD-API-Version": VERSION, "Content-Type": SEMANTIC}
    sent = {**right, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.request(method, server.url + path, json=body, headers=sent)


def patch(*instructions: dict[str, Any], environment: str | None = "production") -> dict[str, Any]:
    named = {} if environment is None else {"environmentKey": environment}
    return {**named, "comment": "a test", "instructions": list(instructions)}


def judged(name: str, answer: httpx.Response) -> Any:
    """The answer as LaunchDarkly's own client reads it; it loses nothing that the answer says."""
    # Slow to import: only where it is needed.
    from launchdarkly_api import models  # noqa: PLC0415

    model = getattr(models, name)
    read = model.from_json(answer.text)
    assert _known(read.to_dict()) == _known(answer.json())
    return read


def _known(whole: Any) -> Any:
    """Without what is empty, and without the one field that the API shows and the client does not know."""
    if isinstance(whole, dict):
        return {name: _known(each) for name, each in whole.items() if each not in (None, {}, []) and name != "type"}
    return [_known(each) for each in whole] if isinstance(whole, list) else whole


def weights(candidate: int, *, server: Server, **more: Any) -> dict[str, Any]:
    on, off = (each["_id"] for each in server.account.flags["web", "new-checkout"]["variations"])
    shares = {on: candidate, off: 100_000 - candidate}
    return {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": shares, **more}


async def test_a_flag_is_what_the_generated_client_says_a_flag_is(server: Server) -> None:
    clause = {"attribute": "email", "op": "endsWith", "values": ["@x.example"], "negate": False, "contextKind": "user"}
    rule: dict[str, Any] = {"kind": "addRule", "clauses": [clause]}
    whole = patch(
        weights(5000, server=server, rolloutBucketBy="country"),
        {**rule, **{name: value for name, value in weights(25_000, server=server).items() if name != "kind"}},
        {
            "kind": "addTargets",
            "values": ["ann"],
            "variationId": weights(0, server=server)["rolloutWeights"].popitem()[0],
        },
        {"kind": "addCustomProperties", "key": "jira.issues", "name": "Jira issues", "values": ["WEB-7"]},
    )
    answers = [await ask(server, "PATCH", FLAG, whole), await ask(server, "GET", f"{FLAG}?env=production")]
    for answer in answers:
        assert answer.status_code == 200
        read = judged("FeatureFlag", answer)
        config = read.environments["production"]
        assert (read.version, config.version, config.on) == (2, 2, True)
        assert [each.weight for each in config.fallthrough.rollout.variations] == [5000, 95_000]
        assert (config.fallthrough.rollout.context_kind, config.fallthrough.rollout.bucket_by) == ("user", "country")
        assert read.custom_properties["jira.issues"].value == ["WEB-7"]
    assert set(answers[0].json()["environments"]) == {"production", "staging"}
    assert set(answers[1].json()["environments"]) == {"production"}


async def test_the_log_and_approval_requests_are_what_the_generated_client_says(server: Server) -> None:
    await ask(server, "PATCH", FLAG, patch(OFF))
    spec = "proj/web:env/production:flag/new-checkout"
    log = judged("AuditLogEntryListingRepCollection", await ask(server, "GET", f"/api/v2/auditlog?spec={spec}&limit=1"))
    assert (log.items[0].token.name, log.items[0].comment, log.items[0].accesses[0].action) == (
        "sluice",
        "a test",
        "turnFlagOff",
    )
    other = await ask(server, "GET", "/api/v2/auditlog?spec=proj/web:env/staging:flag/new-checkout")
    assert other.json()["items"] == []
    asked = await ask(server, "POST", f"{APPROVALS}/approval-requests", {"description": "off", "instructions": [OFF]})
    assert asked.status_code == 201
    assert judged("FlagConfigApprovalRequestResponse", asked).status == "pending"
    listed = await ask(server, "GET", f"{APPROVALS}/approval-requests")
    assert len(judged("FlagConfigApprovalRequestsResponse", listed).items) == 1


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "InvalidRequestErrorRep"),
        (401, "UnauthorizedErrorRep"),
        (403, "ForbiddenErrorRep"),
        (404, "NotFoundErrorRep"),
        (405, "MethodNotAllowedErrorRep"),
        (409, "StatusConflictErrorRep"),
        (422, "InvalidRequestErrorRep"),
        (429, "RateLimitedErrorRep"),
    ],
)
async def test_every_injected_error_is_what_the_generated_client_says(server: Server, status: int, name: str) -> None:
    server.faults.status, server.faults.times = status, 1
    answer = await ask(server, "PATCH", FLAG, patch(OFF))
    assert answer.status_code == status
    assert judged(name, answer).code
    assert ("X-Ratelimit-Reset" in answer.headers) == (status == 429)
    assert (await ask(server, "PATCH", FLAG, patch(OFF))).status_code == 200


async def test_a_limit_of_an_address_names_seconds_and_the_others_a_time(server: Server) -> None:
    server.faults.status, server.faults.limit = 429, "ip"
    assert (await ask(server, "GET", FLAG)).headers["Retry-After"] == "1"
    server.faults.limit = "global"
    assert (await ask(server, "GET", FLAG)).headers["X-Ratelimit-Global-Remaining"] == "0"
    server.faults.limit = "route"
    headers = (await ask(server, "GET", FLAG)).headers
    assert (headers["X-Ratelimit-Route-Remaining"], len(headers["X-Ratelimit-Reset"])) == ("0", 13)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "api-unknown"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": READER}, 403),
        ({"LD_API_Version": "20220603"}, 400),
        ({"Content_Type": "application/json"}, 400),
    ],
)
async def test_a_patch_needs_its_headers_to_the_letter(server: Server, headers: dict[str, str], status: int) -> None:
    before = json.dumps(server.account.flags["web", "new-checkout"])
    answer = await ask(server, "PATCH", FLAG, patch(OFF), **headers)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}
    assert json.dumps(server.account.flags["web", "new-checkout"]) == before


REFUSED: list[tuple[str, Any]] = [
    ("a JSON patch", [{"op": "replace", "path": "/environments/production/on", "value": False}]),
    ("no instructions", {"environmentKey": "production", "instructions": []}),
    ("no environment", patch(OFF, environment=None)),
    ("an unknown environment", patch(OFF, environment="moon")),
    ("an unknown kind", patch(OFF, {"kind": "explode"})),
    (
        "a weight of nobody",
        patch(OFF, {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"x": 100_000}}),
    ),
    ("no choice", patch(OFF, {"kind": "updateFallthroughVariationOrRollout"})),
    ("a long value", patch(OFF, {"kind": "addCustomProperties", "key": "k", "name": "n", "values": ["x" * 65]})),
    ("no name", patch(OFF, {"kind": "addCustomProperties", "key": "k", "values": ["x"]})),
]


@pytest.mark.parametrize(("name", "body"), REFUSED, ids=[name for name, _ in REFUSED])
async def test_a_patch_that_is_not_valid_changes_nothing_at_all(server: Server, name: str, body: Any) -> None:
    assert (await ask(server, "PATCH", FLAG, body)).status_code == 400
    assert server.account.patches == 0


async def test_weights_are_whole_and_sum_to_the_whole(server: Server) -> None:
    right = weights(5000, server=server)
    on, off = right["rolloutWeights"]
    for wrong in ({on: 5000, off: 94_999}, {on: -1, off: 100_001}, {on: 0.5, off: 99_999.5}, [5000, 95_000]):
        assert (await ask(server, "PATCH", FLAG, patch({**right, "rolloutWeights": wrong}))).status_code == 400
    assert (await ask(server, "PATCH", FLAG, patch({**right, "variationId": on}))).status_code == 400
    assert server.account.patches == 0


async def test_the_same_patch_again_changes_nothing_and_a_dry_run_never_does(server: Server) -> None:
    body = patch(weights(5000, server=server), OFF)
    preview = await ask(server, "PATCH", f"{FLAG}?dryRun=true", body)
    assert not preview.json()["environments"]["production"]["on"]
    assert (server.account.patches, server.account.log) == (0, [])
    first = (await ask(server, "PATCH", FLAG, body)).json()
    assert (await ask(server, "PATCH", FLAG, body)).json() == first
    assert (server.account.patches, len(server.account.log)) == (1, 1)
    assert first["environments"]["staging"]["version"] == 1
    named = (await ask(server, "PATCH", FLAG, patch({"kind": "updateName", "value": "x"}, environment=None))).json()
    assert (named["_version"], named["environments"]["production"]["version"]) == (3, 2)


async def test_approvals_and_planned_changes_stand_in_the_way_as_the_contract_says(server: Server) -> None:
    place, body = ("web", "production"), patch(OFF)
    server.account.approvals.add(place)
    for path in (FLAG, f"{FLAG}?dryRun=true", f"{FLAG}?ignoreConflicts=true"):
        assert (await ask(server, "PATCH", path, body)).status_code == 405
    assert (await ask(server, "PATCH", FLAG, patch(OFF, environment="staging"))).status_code == 200
    server.account.approvals.clear()
    server.account.pending["web", "new-checkout", "production"] = frozenset({"turnFlagOff"})
    assert (await ask(server, "PATCH", FLAG, body)).status_code == 400
    assert (await ask(server, "PATCH", f"{FLAG}?ignoreConflicts=true", body)).status_code == 200


async def test_a_release_of_its_own_holds_the_fallthrough_but_not_the_switch(server: Server) -> None:
    server.account.release("web", "new-checkout", "production", "measuredRollout", (5000, 95_000))
    shown = await ask(server, "GET", FLAG)
    rollout = judged("FeatureFlag", shown).environments["production"].fallthrough.rollout
    assert (rollout.experiment_allocation.default_variation, rollout.seed) == (1, 7)
    assert (await ask(server, "PATCH", FLAG, patch(weights(9000, server=server)))).status_code == 409
    assert (await ask(server, "PATCH", FLAG, patch(OFF))).status_code == 200


@contextmanager
def sdk(url: str, *, stream: bool = True) -> Iterator[LDClient]:
    """LaunchDarkly's real SDK; for a thread."""
    config = Config(KEY, stream_uri=url, base_uri=url, send_events=False, stream=stream, initial_reconnect_delay=0.1)
    with LDClient(config, start_wait=5) as client:
        assert client.is_initialized()
        yield client


def shares(client: LDClient, users: int) -> int:
    """Users who see the feature."""
    found = (client.variation("new-checkout", Context.create(f"user-{n}"), None) for n in range(users))
    return sum(each is True for each in found)


@pytest.mark.server
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_real_sdk_gets_every_change_over_the_stream(server: Server) -> None:
    def use() -> None:
        with sdk(server.url) as client:
            assert shares(client, 100) == 0
            before = 0
            for candidate in (5000, 25_000, 50_000, 100_000):
                asyncio.run_coroutine_threadsafe(move(candidate), loop).result(5)
                seen = until(client, lambda: shares(client, 1000), before)
                assert abs(seen - candidate / 100) <= 5 * 15.9
                before = seen
            asyncio.run_coroutine_threadsafe(ask(server, "PATCH", FLAG, patch(OFF)), loop).result(5)
            assert until(client, lambda: shares(client, 100), 100) == 0
            assert client.variation_detail("new-checkout", Context.create("u"), None).reason == {"kind": "OFF"}

    async def move(candidate: int) -> None:
        assert (await ask(server, "PATCH", FLAG, patch(weights(candidate, server=server)))).status_code == 200

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(use)


def until(client: LDClient, measure: Any, before: int) -> int:
    """What is measured once it is no longer what it was; the stream is as fast as this loop."""
    for _ in range(500):
        now = int(measure())
        if now != before and now == measure():  # a change in the middle of measuring is half of each
            return now
    pytest.fail("the SDK never noticed")


@pytest.mark.server
async def test_the_real_sdk_polls_it_too_and_is_refused_with_a_wrong_key(server: Server) -> None:
    server.account.patch(TOKEN, "web", "new-checkout", patch(weights(100_000, server=server)))

    def use() -> int:
        with sdk(server.url, stream=False) as client:
            return shares(client, 100)

    assert await asyncio.to_thread(use) == 100
    async with httpx.AsyncClient(trust_env=False) as http:
        for path in ("/all", "/sdk/latest-all"):
            assert (await http.get(server.url + path, headers={"Authorization": "sdk-wrong"})).status_code == 401


@pytest.mark.server
async def test_frozen_it_lies_to_sdks_and_thawed_it_tells_them(server: Server) -> None:
    server.sdk.freeze()
    server.account.patch(TOKEN, "web", "new-checkout", patch(weights(100_000, server=server)))

    def use() -> tuple[int, int]:
        with sdk(server.url) as client:
            lied = shares(client, 100)
            loop.call_soon_threadsafe(server.heal)
            return lied, until(client, lambda: shares(client, 100), lied)

    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(use) == (0, 100)


@pytest.mark.server
def test_as_a_process_it_keeps_its_port_over_a_restart_and_takes_faults(tmp_path: Path) -> None:
    seed = {
        "tokens": {TOKEN: {"name": "sluice"}},
        "sdk_keys": {KEY: ["web", "production"]},
        "flags": [{"project": "web", "key": "new-checkout", "environments": ["production"]}],
    }
    headers = {"Authorization": TOKEN, "LD-API-Version": VERSION}
    with LaunchDarkly(tmp_path, seed=seed) as part, httpx.Client(trust_env=False, headers=headers) as http:
        assert http.get(part.url + FLAG).json()["key"] == "new-checkout"
        part.fault(status=503)
        assert http.get(part.url + FLAG).status_code == 503
        part.fault()
        assert http.get(part.url + FLAG).status_code == 200
        with pytest.raises(httpx.HTTPStatusError):
            part.fault(volume=11)
        part.restart()
        assert http.get(part.url + FLAG).status_code == 200
