"""The commands against a real server, a real worker and real traffic, each typed as people type it."""

import json
import time
from typing import Any

import pytest

from testbed.processes import wait_until
from tests.starter.conftest import ROLLOUT, WITHIN_S, Town
from tests.starter.typing_it import finished

pytestmark = pytest.mark.server

QUICK: dict[str, Any] = {"percent": 100, "bake": "2s"}
ASKING: dict[str, Any] = {"name": "internal QA", "percent": 5, "bake": "2s", "approval": {"within": "5m"}}
LONG: dict[str, Any] = {"name": "long", "percent": 5, "bake": "5m"}


def test_a_rollout_is_started_watched_approved_and_promoted(town: Town) -> None:
    watch = town.begin("start", town.spec(ASKING, QUICK), "--watch", "--by", "cleo")
    wait_until(lambda: town.sluice("status", ROLLOUT).code == 0, within_s=WITHIN_S, what="it is known")
    town.await_phase("AwaitingApproval")

    again = town.sluice("start", town.spec(QUICK))
    assert again.code == 1
    assert again.err == (
        "checkout 1.42.0 in demo is already running at 5 % (AwaitingApproval); look with "
        f"`sluice status {ROLLOUT}`, stop it with `sluice abort {ROLLOUT}`\n"
    )
    refused = town.sluice("resume", "checkout", "--by", "ana")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"{ROLLOUT}: refused: resume: it is not held, it is AwaitingApproval\n"

    (row,) = [row for row in json.loads(town.sluice("list", "--json").out) if row["status"] == "Running"]
    assert (row["service"], row["environment"], row["version"], row["percent"]) == ("checkout", "demo", "1.42.0", 5)
    listed = town.sluice("list").out.splitlines()
    assert listed[0].split() == ["SERVICE", "ENVIRONMENT", "VERSION", "PHASE", "PERCENT", "STARTED", "STATUS"]
    assert listed[1].split()[:6] == ["checkout", "demo", "1.42.0", "AwaitingApproval", "5", "%"]

    approved = town.sluice("approve", "demo/checkout", "--by", "ana", "--comment", "fine", "--json")
    assert json.loads(approved.out)["sent_as"] == "update"
    end = finished(watch)
    assert (end.code, end.err) == (0, f"started {ROLLOUT}\n")
    assert end.out.splitlines()[-1] == "checkout 1.42.0 in demo: promoted"
    assert any("| 5 % | AwaitingApproval | internal QA |" in line for line in end.out.splitlines())
    assert "\x1b" not in end.out
    assert "─" not in end.out

    report = town.sluice("status", "checkout", "--exit-code")
    assert report.code == 0
    assert "phase    Promoted (Completed in Temporal)" in report.out
    assert town.status()["progress"]["approvals"]["0"]["comment"] == "fine"


def test_an_abort_ends_in_eleven_and_everything_is_back(town: Town) -> None:
    started = town.sluice("start", town.spec(LONG, QUICK), "--json")
    assert (started.code, json.loads(started.out)["workflow_id"]) == (0, ROLLOUT)
    told = town.sluice("abort", "checkout", "-e", "demo", "--by", "ana", "--comment", "smells")
    assert (told.code, told.out) == (0, f"{ROLLOUT}: abort: aborted by ana: smells\n")
    end = town.sluice("watch", ROLLOUT, "--json")
    assert end.code == 11
    assert json.loads(end.out)["exit_code"] == 11
    assert json.loads(end.out)["result"]["percent"] == 0
    late = town.sluice("hold", "demo/checkout")
    assert (late.code, late.err) == (1, f"{ROLLOUT} has ended already: Aborted\n")
    assert town.sluice("hold", "checkout").err.startswith("no rollout of checkout is running")


def test_what_is_held_ends_a_watch_that_shall_not_wait(town: Town) -> None:
    assert town.sluice("start", town.spec(LONG, QUICK)).code == 0
    assert town.sluice("hold", ROLLOUT, "--by", "ana", "--comment", "lunch").code == 0
    end = town.sluice("watch", "checkout", "--no-wait")
    assert (end.code, end.out.splitlines()[-1]) == (13, "checkout 1.42.0 in demo: Held: held by ana: lunch")
    live = town.sluice("watch", ROLLOUT, "--no-wait", FORCE_COLOR="1", COLUMNS="100")
    assert (live.code, "Held at 5 %" in live.out, "\x1b[" in live.out) == (13, True, True)
    assert town.sluice("status", "checkout", "--exit-code").code == 13
    assert town.sluice("reject", ROLLOUT).code == 0
    assert town.sluice("watch", ROLLOUT).code == 12


def test_a_refused_start_says_every_reason(town: Town) -> None:
    route = {"kind": "envoy", "connection": "nowhere", "service": "checkout"}
    answer = town.sluice("start", town.spec(QUICK, routes=[route]))
    assert (answer.code, answer.out) == (1, "")
    assert "checkout 1.42.0 in demo: refused: " in answer.err
    assert "no connection 'nowhere' in the worker's settings; known: edge, prometheus" in answer.err


def test_without_a_worker_an_answer_takes_seconds_and_a_command_waits_as_a_signal(town: Town) -> None:
    later = {"name": "later", "percent": 50, "bake": "5m", "approval": {}}
    town.sluice("start", town.spec({**LONG, "approval": {}}, later, QUICK))
    town.worker.pause()
    began = time.monotonic()
    waiting = [town.begin("status", "checkout"), town.begin("status", "checkout", "--json")]
    approve = town.begin("approve", "checkout", "--by", "ana")
    report, machine, said = finished(waiting[0]), finished(waiting[1]), finished(approve)
    assert time.monotonic() - began < 15
    assert report.err == "no worker is answering; this is what the server last heard\n"
    assert "phase    Baking" in report.out
    assert "percent  5 % on the candidate" in report.out
    assert (json.loads(machine.out)["phase"], json.loads(machine.out)["percent"]) == ("Baking", 5)
    assert said.code == 0
    assert said.err.startswith(f"{ROLLOUT}: no worker is answering; approve is left as a signal")
    assert town.sluice("abort", "checkout", "--by", "ana", "--json").out.count('"sent_as": "signal"') == 1

    town.worker.resume()
    end = town.sluice("watch", ROLLOUT)
    assert (end.code, "aborted by ana" in end.out) == (11, True)
    # One yes of a person is one yes, however often it was sent.
    assert list(town.status()["progress"]["approvals"]) == ["0"]


def test_a_watch_survives_the_death_of_the_server(town: Town) -> None:
    town.sluice("start", town.spec(LONG, QUICK))
    watch = town.begin("watch", ROLLOUT)
    assert watch.stdout.readline().split(" | ")[1] == "5 %"
    town.server.kill()
    while "does not answer; trying again" not in watch.stdout.readline():
        pass
    town.server.start()
    assert town.sluice("abort", ROLLOUT).code == 0
    assert finished(watch).code == 11


def test_a_run_that_is_paused_in_temporal_hides_nothing_and_still_hears_an_abort(town: Town) -> None:
    town.sluice("start", town.spec(LONG, QUICK))
    town.server.ask("workflow", "pause", "--workflow-id", ROLLOUT, "--reason", "a click")
    (row,) = [row for row in json.loads(town.sluice("list", "--json").out) if row["closed"] is None]
    assert row["status"] == "Paused"
    assert "end that with `temporal workflow unpause`" in town.sluice("status", ROLLOUT).err
    said = town.sluice("abort", ROLLOUT)
    assert (said.code, "abort is left as a signal" in said.err) == (0, True)
    town.server.ask("workflow", "unpause", "--workflow-id", ROLLOUT, "--reason", "a click")
    assert town.sluice("watch", ROLLOUT).code == 11


def test_a_terminated_rollout_is_no_success(town: Town) -> None:
    town.sluice("start", town.spec(LONG, QUICK))
    town.server.ask("workflow", "terminate", "--workflow-id", ROLLOUT, "--reason", "a mistake")
    end = town.sluice("status", ROLLOUT, "--exit-code")
    assert end.code == 1
    assert "terminated from outside, so nothing put the traffic back; it was last Baking at 5 %" in end.out


def test_setup_prepares_a_namespace_once(town: Town) -> None:
    town.server.ask("operator", "namespace", "create", "--namespace", "fresh")
    fresh = {"TEMPORAL_NAMESPACE": "fresh"}
    known = lambda: "not found" not in town.sluice("list", **fresh).err  # noqa: E731
    wait_until(known, within_s=WITHIN_S, what="the namespace is known")
    refused = town.sluice("start", town.spec(QUICK), **fresh)
    assert refused.code == 1
    assert refused.err.endswith("run `sluice setup` once\n")
    assert town.sluice("setup", **fresh).out.startswith("namespace fresh: added RolloutService, ")
    assert town.sluice("setup", **fresh).out == "namespace fresh: everything is there already\n"

    lonely = town.sluice("start", town.spec(QUICK), **fresh)  # no worker serves this namespace
    assert (lonely.code, "it begins as soon as one runs" in lonely.err) == (0, True)
    assert "waiting for a worker" in lonely.out
    listed = json.loads(town.sluice("list", "--json", **fresh).out)
    assert [(row["service"], row["phase"]) for row in listed] == [("checkout", None)]
