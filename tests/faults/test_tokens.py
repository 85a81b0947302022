"""No token is ever in a history, a log, an error or a detail: all that failing rollouts leave behind is searched.

Every rollout here fails in a way of its own, most of them because a server answers with the very token that it was
sent (`echo`). They run at the same time, in front of one worker that logs everything; then what is left is searched
once for each secret.
"""

import asyncio
import base64
import functools
import json
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributeKey

from rollout import names
from rollout.happened import Phase
from testbed.flags.launchdarkly import LaunchDarkly
from testbed.temporal import TemporalServer
from testbed.worker import Worker
from tests.faults.echo import Echo, Shape, Trouble
from workflows.converter import DATA_CONVERTER

pytestmark = pytest.mark.server

PATIENCE_S = 60.0
LOOK_EVERY_S = 0.4
METADATA = "__temporal_workflow_metadata"
CANARY = f"canary{secrets.token_hex(8)}"
WHY = "gate errors is breached"
KINDS = (
    *("history as JSON", "history as protobuf", "payloads of the history", "description", "pending failure"),
    *("heartbeat", "query", "metadata", "failure", "list of rollouts", "log of the worker", "file"),
)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────

SDK_TROUBLES: dict[str, Shape] = {f"sdk-{shape}": shape for shape in ("json", "text", "events", "raw", "header")}
PROMETHEUS_TROUBLES: dict[str, Trouble] = {
    "prometheus-400": Trouble(status=400),
    "prometheus-401": Trouble(status=401),
    "prometheus-403": Trouble(status=403),
    "prometheus-500": Trouble(status=500),
    "prometheus-warns": Trouble(status=200),
    "prometheus-page": Trouble("text", status=200),
    "prometheus-raw": Trouble("raw"),
    "prometheus-header": Trouble("header"),
}
OWNERS = (
    *("ld", "ld-sdk", "ld-stranger", "ld-reader", "ld-torn", "unleash", "unleash-client", "prometheus"),
    *("prometheus-blind", *SDK_TROUBLES, *PROMETHEUS_TROUBLES),
)
"""Whose secrets there are; each is in a file of this name."""


def pieces(word: str) -> Iterator[bytes]:
    """What shows that a word was told: itself, a part of it, or its base64, whatever stands in front of it there."""
    yield from (word.encode(), word[:12].encode(), word[-12:].encode())
    for ahead in range(3):
        packed = base64.b64encode(b"\0" * ahead + word.encode()).rstrip(b"=")
        yield packed[4 if ahead else 0 : -4]


# ── what is left ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class Left:
    """Everything that the rollouts left behind.

    Attributes:
        kept: by kind.
        stories: way → what its rollout failed with, in its history and while it was tried again.
        echoed: trouble → what was sent to it, and back.
        secrets: owner → secret.
        failed: way → what was not as it should be.
    """

    kept: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    stories: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    echoed: dict[str, set[str]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    failed: dict[str, BaseException | None] = field(default_factory=dict)

    def keep(self, kind: str, what: object) -> None:
        assert kind in KINDS
        self.kept[kind].add(what if isinstance(what, bytes) else str(what).encode())

    def found(self, word: str) -> dict[str, str]:
        """Where a word is told: kind → the first of it with what is around."""
        there = {}
        for kind, every in self.kept.items():
            for each in every:
                if places := [at for piece in pieces(word) if (at := each.find(piece)) >= 0]:
                    there[kind] = each[max(0, min(places) - 120) : min(places) + 120].decode(errors="replace")
                    break
        return there


def payloads(message: Message) -> Iterator[bytes]:
    """The data of every payload in a message, decoded."""
    if isinstance(message, Payload):
        is_json = message.metadata.get("encoding") == b"json/plain"
        yield json.dumps(json.loads(message.data), ensure_ascii=False).encode() if is_json else message.data
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            every = [each for each in value.values() if isinstance(each, Message)]
        else:
            every = [value] if isinstance(value, Message) else list(value)
        for each in every:
            yield from payloads(each)


# ── one rollout ──────────────────────────────────────────────────────────────────────────────────


class Run:
    """A rollout that is watched; whatever is seen of it is kept."""

    def __init__(self, service: str, handle: WorkflowHandle[Any, Any], left: Left) -> None:
        self.service, self._handle, self._left = service, handle, left

    async def until(self, what: str, condition: Callable[[WorkflowExecutionDescription], object]) -> None:
        """Describe it until it is so."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            now = await self._handle.describe()
            self._keep(now)
            if condition(now):
                return
            late = asyncio.get_running_loop().time() > deadline
            seen = list(now.raw_description.pending_activities)
            assert not late, f"{self.service}, not within {PATIENCE_S:g} s: {what}; seen last: {seen}"
            await asyncio.sleep(LOOK_EVERY_S)

    async def phase(self, phase: Phase) -> None:
        key = SearchAttributeKey.for_keyword(names.PHASE)
        await self.until(str(phase), lambda now: now.typed_search_attributes.get(key) == phase)
        await self.ask()

    async def fails(self, activity: str, reason: str, attempt: int = 2) -> None:
        """Wait until an activity is tried again, because of this."""

        def does(now: WorkflowExecutionDescription) -> bool:
            pending = {each.activity_type.name: each for each in now.raw_description.pending_activities}
            found = pending.get(activity)
            return (
                found is not None
                and found.attempt >= attempt
                and reason.encode() in found.last_failure.SerializeToString()
            )

        await self.until(f"{activity} fails with {reason}", does)
        await self.ask()

    async def sees_nothing(self, reason: str) -> None:
        """Wait until the heartbeat of the watch says so."""

        def does(now: WorkflowExecutionDescription) -> bool:
            return any(
                reason.encode() in payload.data
                for each in now.raw_description.pending_activities
                for payload in each.heartbeat_details.payloads
            )

        await self.until(f"the heartbeat says {reason}", does)

    async def signal(self, command: str) -> None:
        await self._handle.signal(command, {"by": "kim", "comment": f"for {CANARY}"})

    async def ended(self, outcome: str) -> None:
        """Wait for the end, which must be a failure of this type."""
        await self.until(f"it ends {outcome}", lambda now: now.close_time is not None)
        with pytest.raises(WorkflowFailureError) as failed:
            await self._handle.result()
        error: BaseException | None = failed.value
        assert getattr(failed.value.cause, "type", None) == outcome, failed.value.cause
        while error is not None:
            self._left.keep("failure", f"{error!r} {getattr(error, 'details', '')} {getattr(error, 'failure', '')}")
            error = error.__cause__
        await self.ask()
        history = await self._handle.fetch_history()
        self._left.keep("history as JSON", history.to_json())
        for event in history.events:
            self._left.stories[self.service].add(event.SerializeToString())
            self._left.keep("history as protobuf", event.SerializeToString())
            for data in payloads(event):
                self._left.keep("payloads of the history", data)

    async def ask(self) -> None:
        """Ask everything that can be asked."""
        for query in (names.STATUS, names.PLAN):
            answer = await self._handle.query(query)
            self._left.keep("query", json.dumps(answer, ensure_ascii=False))
        self._left.keep("metadata", await self._handle.query(METADATA, result_type=WorkflowMetadata))

    def _keep(self, now: WorkflowExecutionDescription) -> None:
        self._left.keep("description", now.raw_description.SerializeToString())
        for data in payloads(now.raw_description):
            self._left.keep("description", data)
        for each in now.raw_description.pending_activities:
            self._left.keep("pending failure", each.last_failure.SerializeToString())
            # Not always in the history later: the server keeps the last failure only, and cuts long ones.
            self._left.stories[self.service].add(each.last_failure.SerializeToString())
            for payload in each.heartbeat_details.payloads:
                self._left.keep("heartbeat", payload.data)
                # Nor is this: an abort does not wait for the last words of a watch.
                self._left.stories[self.service].add(payload.data)


# ── the house, and the ways to fail in it ────────────────────────────────────────────────────────


@dataclass
class Play:
    """The house in which they fail."""

    directory: Path
    client: Client
    echo: Echo
    launchdarkly: LaunchDarkly
    left: Left

    async def start(self, service: str, prometheus: str = "prometheus", **fields: Any) -> Run:
        spec = {**spec_of(service, prometheus), **fields}
        (self.directory / "flags" / f"{spec['service']}.json").write_text(flag_file(), encoding="utf-8")
        id_ = names.workflow_id(spec["environment"], spec["service"])
        handle = await self.client.start_workflow(names.ROLLOUT, spec, id=id_, task_queue=names.TASK_QUEUE)
        return Run(service, handle, self.left)


Way = Callable[[Play, str], Awaitable[None]]


def spec_of(service: str, prometheus: str) -> dict[str, Any]:
    """A flag in a file of its own goes to 25 % and stays there."""
    named = f"{service}-{CANARY}"
    query = f'errors{{service="{named}"}}'
    return {
        "service": named,
        "environment": "prod",
        "release": {"candidate": "new", "stable": "old"},
        "strategy": {"kind": "flag", "stages": [{"percent": 25, "bake": "1h"}, {"percent": 100, "bake": "1h"}]},
        "routes": [{"kind": "flagd", "connection": "files", "file": named, "key": "new-checkout"}],
        "gates": {"errors": {"kind": "threshold", "connection": prometheus, "query": query, "above": 0.05}},
        "policy": {"poll": "1s", "drain": "1s", "prove_within": "2s", "no_data": {"hold": "1h"}},
    }


def flag_file() -> str:
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    return json.dumps({"flags": {"new-checkout": flag}})


def launchdarkly_flag(key: str, connection: str = "ld") -> dict[str, Any]:
    place = {"project": "web", "environment": "production", "key": key}
    return {"kind": "launchdarkly", "connection": connection, **place}


def unleash_flag(key: str) -> dict[str, Any]:
    return {"kind": "unleash", "connection": key, "environment": "production", "key": key}


def turns_off(flag: dict[str, Any]) -> dict[str, Any]:
    return {"mitigations": [{"when": ["errors"], "flag": flag, "then_watch": "2s", "prove_within": "2s"}]}


async def refused(play: Play, name: str, *, flag: dict[str, Any], trouble: Trouble | None = None) -> None:
    """Preflight says no to a mitigation."""
    if trouble:
        play.echo.troubles[name] = trouble
    run = await play.start(name, **turns_off(flag))
    await run.ended("Refused")


async def doubted(play: Play, name: str, *, trouble: Trouble) -> None:
    """Preflight says that it could not prove a mitigation now, and goes on."""
    play.echo.troubles[name] = trouble
    run = await play.start(name, **turns_off(unleash_flag(name)))
    await run.phase(Phase.BAKING)
    await run.signal(names.ABORT)
    await run.ended("Aborted")


async def tried_again(play: Play, name: str, *, trouble: Trouble, reason: str) -> None:
    """Preflight cannot say yet, and later it says no."""
    play.echo.troubles[name] = trouble
    run = await play.start(name, **turns_off(unleash_flag(name)))
    await run.fails(names.PLAN_ROLLOUT, reason)
    play.echo.troubles[name] = Trouble(status=401)
    await run.ended("Refused")


async def torn(play: Play, name: str) -> None:
    """A token file that holds more than a token; what is written then belongs to nobody whom LaunchDarkly knows."""
    run = await play.start(name, **turns_off(launchdarkly_flag(name, "ld-torn")))
    await run.fails(names.PLAN_ROLLOUT, "holds no token")
    (play.directory.parent / "secrets" / "ld-torn").write_text(play.left.secrets["ld-torn"])
    await run.ended("Refused")


async def not_turned_off(play: Play, name: str, *, flag: dict[str, Any], trouble: Trouble) -> None:
    """A gate breaches, the flag cannot be turned off, and everything goes back."""
    run = await play.start(name, **turns_off(flag))
    await run.phase(Phase.BAKING)
    play.echo.troubles[name] = trouble
    play.echo.bad.add(f"{name}-{CANARY}")
    await run.ended("RolledBack")


async def in_conflict(play: Play, name: str) -> None:
    """The same, and it is the stand-in itself that says no, with the token in its words."""
    run = await play.start(name, **turns_off(launchdarkly_flag(name, "ld-direct")))
    await run.phase(Phase.BAKING)
    said = f"{play.left.secrets['ld']} is faster"
    await asyncio.to_thread(play.launchdarkly.fault, status=409, methods=["PATCH"], says=said)
    play.echo.bad.add(f"{name}-{CANARY}")
    await run.ended("RolledBack")
    await asyncio.to_thread(play.launchdarkly.fault)


async def write_refused(play: Play, name: str) -> None:
    """A flag's write is refused; when it is called off, the way back fails several times too."""
    asks = {"percent": 25, "bake": "1h", "approval": {"before": True}}
    strategy = {"kind": "flag", "stages": [asks, {"percent": 100, "bake": "1h"}]}
    run = await play.start(name, strategy=strategy, routes=[launchdarkly_flag(name)])
    await run.phase(Phase.AWAITING_APPROVAL)
    play.echo.troubles[name] = Trouble(status=403, only="PATCH")
    await run.signal(names.APPROVE)
    await run.phase(Phase.HELD)
    play.echo.troubles[name] = Trouble("late", status=422, only="PATCH")
    await run.signal(names.ABORT)
    await run.fails(names.RESTORE_TRAFFIC, "LaunchDarkly refuses it", attempt=3)
    del play.echo.troubles[name]
    await run.ended("Aborted")


async def way_back_fails(play: Play, name: str) -> None:
    """A flag at 25 % whose service answers everything with what it was sent; the watch is blind, the way back waits."""
    run = await play.start(name, routes=[launchdarkly_flag(name)])
    await run.phase(Phase.BAKING)
    play.echo.troubles[name] = Trouble("raw")
    await run.sees_nothing("does not answer")
    await run.signal(names.ABORT)
    await run.fails(names.RESTORE_TRAFFIC, "does not answer", attempt=3)
    play.echo.troubles[name] = Trouble("late", status=409, only="PATCH")
    await run.fails(names.RESTORE_TRAFFIC, "there is a conflict", attempt=4)
    del play.echo.troubles[name]
    await run.ended("Aborted")


async def file_broken(play: Play, name: str) -> None:
    """A flag file that is broken just when the way back needs it."""
    run = await play.start(name)
    await run.phase(Phase.BAKING)
    file = play.directory / "flags" / f"{name}-{CANARY}.json"
    whole = file.read_text(encoding="utf-8")
    file.write_text('{"flags": ', encoding="utf-8")
    await run.signal(names.ABORT)
    await run.fails(names.RESTORE_TRAFFIC, "is not the JSON of a flag file")
    file.write_text(whole, encoding="utf-8")
    await run.ended("Aborted")


async def metrics_fail(play: Play, name: str) -> None:
    """Preflight gets no numbers, is told no, or gets them in the end."""
    play.echo.troubles[name] = PROMETHEUS_TROUBLES[name]
    run = await play.start(name, prometheus=name)
    if name == "prometheus-400":
        await run.ended("Refused")
        return
    await run.fails(names.PLAN_ROLLOUT, play.echo.url)
    del play.echo.troubles[name]
    await run.phase(Phase.BAKING)
    await run.signal(names.ABORT)
    await run.ended("Aborted")


async def gone_blind(play: Play, name: str) -> None:
    """The metrics server begins to refuse in the middle of a bake."""
    run = await play.start(name, prometheus=name)
    await run.phase(Phase.BAKING)
    play.echo.troubles[name] = Trouble(status=401)
    await run.sees_nothing("/prometheus/prometheus-blind")
    await run.signal(names.ABORT)
    await run.ended("Aborted")


def of(way: Callable[..., Awaitable[None]], **fields: Any) -> Way:
    return functools.partial(way, **fields)


def mitigated(name: str, trouble: Trouble, connection: str = "ld") -> Way:
    return of(not_turned_off, flag=launchdarkly_flag(name, connection), trouble=trouble)


def unleashed(name: str, trouble: Trouble) -> Way:
    return of(not_turned_off, flag=unleash_flag(name), trouble=trouble)


CLIENT = "/api/client"
WAYS: dict[str, tuple[str, Way]] = {
    # LaunchDarkly, before anything was moved.
    "m-stranger": ("does not accept the token", of(refused, flag=launchdarkly_flag("m-stranger", "ld-stranger"))),
    "m-reader": ("may not do this", of(refused, flag=launchdarkly_flag("m-reader", "ld-reader"))),
    "m-torn": ("holds no token", torn),
    **{
        f"m-405-{shape}": (
            "requires an approval",
            of(
                refused,
                flag=launchdarkly_flag(f"m-405-{shape}"),
                trouble=Trouble(shape, status=405, only="dryRun"),
            ),
        )
        for shape in ("json", "late")
    },
    **{
        name: ("check sdk_key_file", of(refused, flag=launchdarkly_flag("shared", name), trouble=Trouble(shape)))
        for name, shape in SDK_TROUBLES.items()
    },
    # LaunchDarkly, when a gate is breached.
    "m-401": ("does not accept the token", mitigated("m-401", Trouble(status=401))),
    "m-403": ("may not do this", mitigated("m-403", Trouble(status=403))),
    "m-405": ("requires an approval", mitigated("m-405", Trouble("late", status=405, only="PATCH"))),
    "m-409": ("there is a conflict", mitigated("m-409", Trouble("late", status=409, only="PATCH"))),
    "m-422": ("LaunchDarkly refuses it", mitigated("m-422", Trouble(status=422, only="PATCH"))),
    "m-429": ("LaunchDarkly wants to be asked again", mitigated("m-429", Trouble(status=429), "ld-busy")),
    "m-500": ("answers with status 500", mitigated("m-500", Trouble(status=500))),
    "m-text": ("is not LaunchDarkly's API", mitigated("m-text", Trouble("text", status=200))),
    "m-hang": ("does not answer (TimeoutError)", mitigated("m-hang", Trouble("hang"))),
    "m-cut": ("does not answer", mitigated("m-cut", Trouble("cut"))),
    "m-raw": ("does not answer", mitigated("m-raw", Trouble("raw"))),
    "m-header": ("does not answer", mitigated("m-header", Trouble("header"))),
    "m-conflict": ("there is a conflict", in_conflict),
    # LaunchDarkly as the ladder, and the flag file.
    "l-write": ("may not do this", write_refused),
    "l-back": ("does not answer", way_back_fails),
    "f-broken": ("is not the JSON of a flag file", file_broken),
    # Unleash.
    **{
        f"u-{status}": (
            reason,
            of(refused, flag=unleash_flag(f"u-{status}"), trouble=Trouble(status=status)),
        )
        for status, reason in {
            401: "does not accept the token",
            403: "is not allowed",
            400: "was refused (400",
            302: "leads elsewhere",
        }.items()
    },
    **{
        name: (reason, of(tried_again, trouble=trouble, reason=reason))
        for name, trouble, reason in (
            ("u-500", Trouble(), "failed inside Unleash"),
            ("u-429", Trouble(status=429), "asked too often"),
            ("u-text", Trouble("text", status=200), "answers no JSON"),
            ("u-raw", Trouble("raw"), "did not answer"),
            ("u-header", Trouble("header"), "did not answer"),
            ("u-cut", Trouble("cut"), "did not answer"),
            ("u-hang", Trouble("hang"), "did not answer"),
        )
    },
    **{
        name: (reason, of(doubted, trouble=trouble))
        for name, trouble, reason in (
            ("c-500", Trouble(status=500, only=CLIENT), "failed inside Unleash"),
            ("c-text", Trouble("text", status=200, only=CLIENT), "answers no JSON"),
            ("c-raw", Trouble("raw", only=CLIENT), "did not answer"),
        )
    },
    "c-401": (
        "does not accept the token",
        of(refused, flag=unleash_flag("c-401"), trouble=Trouble(status=401, only=CLIENT)),
    ),
    "u-off-403": ("is not allowed", unleashed("u-off-403", Trouble(status=403, only="POST"))),
    "u-off-409": ("was refused (409", unleashed("u-off-409", Trouble(status=409, only="POST"))),
    "u-off-raw": ("did not answer", unleashed("u-off-raw", Trouble("raw", only="POST"))),
    "u-unproven": ("not off where it is evaluated", unleashed("u-unproven", Trouble(status=401, only=CLIENT))),
    # The metrics server.
    **dict.fromkeys(PROMETHEUS_TROUBLES, ("http://127.0.0.1", metrics_fail)),
    "prometheus-blind": ("/prometheus/prometheus-blind", gone_blind),
}


def settings(echo: Echo, launchdarkly: LaunchDarkly, kept: Path, flags: Path) -> str:
    """The worker's settings: every token is in a file of its own."""
    text = 'graceful_stop = "1s"\n'

    def connection(name: str, **fields: object) -> None:
        nonlocal text
        text += f"[connections.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())

    def of_launchdarkly(name: str, token: str, **fields: str) -> None:
        streams = {"stream_url": launchdarkly.url, "base_url": launchdarkly.url, "sdk_key_file": f"{kept}/ld-sdk"}
        asked = {"url": f"{echo.url}/launchdarkly/{name}", "token_file": f"{kept}/{token}", **streams, **fields}
        connection(name, kind="launchdarkly", timeout_s=1, **asked)

    connection("files", kind="flagd", folder=str(flags), applications_look_every_s=0)
    for name in ("ld", "ld-stranger", "ld-reader", "ld-torn"):
        of_launchdarkly(name, name)
    of_launchdarkly("ld-busy", "ld")
    of_launchdarkly("ld-direct", "ld", url=launchdarkly.url)
    for name in SDK_TROUBLES:
        asked = f"{echo.url}/launchdarkly/{name}"
        of_launchdarkly(
            name, "ld", url=launchdarkly.url, stream_url=asked, base_url=asked, sdk_key_file=f"{kept}/{name}"
        )
    for name in WAYS:
        if name.startswith(("u-", "c-")):
            tokens = {"token_file": f"{kept}/unleash", "client_token_file": f"{kept}/unleash-client"}
            url = f"{echo.url}/unleash/{name}"
            connection(name, kind="unleash", url=url, refresh_s=0, timeout_s=1, **tokens)
    for name in ("prometheus", "prometheus-blind", *PROMETHEUS_TROUBLES):
        url = f"{echo.url}/prometheus/{name}"
        connection(name, kind="prometheus", url=url, token_file=f"{kept}/{name}", timeout_s=2)
    return text


async def played(directory: Path) -> Left:
    """Let them all fail at the same time; answers with what they left."""
    left, kept, house = Left(), directory / "secrets", directory / "house"
    for folder in (kept, house / "flags"):
        folder.mkdir(parents=True)
    for owner in OWNERS:
        left.secrets[owner] = secrets.token_hex(24)
        (kept / owner).write_text(left.secrets[owner] + "\n")
    (kept / "ld-torn").write_text(f"{left.secrets['ld-torn']} {left.secrets['ld-torn']}\n")
    place, keys = ["web", "production"], [*(name for name in WAYS if name[0] in "ml"), "shared"]
    seed = {
        "tokens": {left.secrets["ld"]: {"name": "sluice"}, left.secrets["ld-reader"]: {"name": "r", "writes": False}},
        "sdk_keys": {left.secrets["ld-sdk"]: place},
        "flags": [{"project": "web", "key": key, "environments": ["production"]} for key in keys],
    }
    server, launchdarkly = TemporalServer(house, ui=False, in_memory=True), LaunchDarkly(directory / "ld", seed=seed)
    toml = house / "worker.toml"
    with ExitStack() as running:
        running.enter_context(launchdarkly)
        running.enter_context(server)
        async with Echo(launchdarkly.url) as echo:
            toml.write_text(settings(echo, launchdarkly, kept, house / "flags"), encoding="utf-8")
            worker = Worker(house, settings=toml, address=server.address, env={"SLUICE_LOG_LEVEL": "DEBUG"})
            running.callback(worker.stop)
            await asyncio.to_thread(worker.start)
            client = await Client.connect(server.address, data_converter=DATA_CONVERTER)
            play = Play(house, client, echo, launchdarkly, left)
            ways = (way(play, name) for name, (_, way) in WAYS.items())
            ends = await asyncio.gather(*ways, return_exceptions=True)
            left.failed = dict(zip(WAYS, ends, strict=True))
            left.echoed = dict(echo.told)
            async for each in client.list_workflows():
                left.keep("list of rollouts", each.raw_info.SerializeToString())
            metrics = await asyncio.to_thread(httpx.get, worker.metrics_url, trust_env=False)
            left.keep("file", metrics.content)
            await asyncio.to_thread(worker.stop)
            left.keep("log of the worker", worker.log.read_bytes())
    for file in house.rglob("*"):
        if file.is_file():
            left.keep("file", bytes(str(file), "utf-8") + b"\n" + file.read_bytes())
    return left


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return asyncio.run(played(tmp_path_factory.mktemp("tokens")))


@pytest.mark.parametrize("owner", OWNERS)
def test_no_secret_is_left_behind(left: Left, owner: str) -> None:
    if found := left.found(left.secrets[owner]):
        pytest.fail("\n\n".join(f"{kind}: …{there}…" for kind, there in found.items()), pytrace=False)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_left_behind_is_searched(left: Left, kind: str) -> None:
    assert kind in left.found("http://127.0.0.1" if kind in {"pending failure", "heartbeat"} else CANARY)


def test_base64_is_seen_through(left: Left) -> None:
    encoded = list(pieces(WHY))[3:]
    (found,) = [each for each in left.kept["history as JSON"] if b"m-401-canary" in each]
    assert WHY.encode() not in found
    assert any(piece in found for piece in encoded)


@pytest.mark.parametrize("name", WAYS)
def test_each_way_really_happened(left: Left, name: str) -> None:
    if error := left.failed[name]:
        raise error
    reason, story = WAYS[name][0].encode(), left.stories[name]
    assert any(reason in each for each in story), f"not told in {len(story)} events and failures: {WAYS[name][0]}"


def test_every_trouble_was_sent_a_secret_and_sent_it_back(left: Left) -> None:
    known = set(left.secrets.values())
    for name, sent in left.echoed.items():
        assert {each.removeprefix("Bearer ") for each in sent} <= known, name
        assert sent, name
    assert left.echoed.keys() >= {*SDK_TROUBLES, *PROMETHEUS_TROUBLES, "prometheus-blind", "m-raw", "u-raw", "l-back"}
