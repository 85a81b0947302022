"""A rollout as people see it: from states made by hand, to the very lines."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from rollout.happened import Phase
from rollout.judge.verdict import Verdict
from rollout.story import details
from starter.endings import Ending
from starter.exits import Exit
from starter.printing import plain
from starter.screens import change, line, report, screen
from starter.seeing import NO_WORKER, Sight
from tests.starter import sights
from tests.starter.sights import NOW, sight


def lines(seen: Sight, end: Ending | None = None) -> list[str]:
    return plain(*report(seen, NOW, end)).splitlines()


def test_a_report_has_the_fields_on_top_and_the_story_below() -> None:
    shown = lines(sight())
    assert shown[:8] == [
        "rollout  rollout:prod/checkout",
        "release  checkout 1.41.3 → 1.42.0 in prod",
        "phase    Baking",
        "percent  50 % on the candidate",
        "stage    half, 2 of 3",
        "bake     1m30s of 30m, ends about 2026-11-22 03:40:35 UTC",
        "gate     errors: healthy: 0.002, limit above 0.05 for 2m",
        "started  2026-11-22 03:00:05 UTC, 12m ago",
    ]
    assert shown[8:] == ["", *details(sights.SPEC, sights.planned(), sights.at_half()).splitlines()]


def test_a_report_says_who_is_silent_and_shows_what_the_server_knows() -> None:
    shown = lines(Sight(run=sights.run(), silent=NO_WORKER))
    assert shown == [
        "rollout  rollout:prod/checkout",
        "release  checkout 1.42.0 in prod",
        "phase    Baking",
        "percent  50 % on the candidate",
        "note     no worker is answering",
        "started  2026-11-22 03:00:05 UTC, 12m ago",
    ]


def test_a_report_of_a_closed_run_ends_with_the_outcome() -> None:
    stopped = sights.at_half().stopped(Phase.ROLLED_BACK, "gate errors: 0.1", NOW).ended(Phase.ROLLED_BACK, NOW)
    closed = sights.run(state="Failed", phase="RolledBack", percent=0, closed=NOW)
    shown = lines(sight(stopped, run=closed), Ending(Exit.ROLLED_BACK, "checkout 1.42.0 in prod: RolledBack: gate …"))
    assert "phase    RolledBack (Failed in Temporal)" in shown
    assert "reason   gate errors: 0.1" in shown
    assert "ended    2026-11-22 03:12:05 UTC, after 12m" in shown
    assert "outcome  checkout 1.42.0 in prod: RolledBack: gate …" in shown


def test_the_screen_shows_the_ladder_with_the_running_bake() -> None:
    shown = plain(screen(sight(), NOW)).splitlines()
    assert shown[0] == "checkout 1.41.3 → 1.42.0 in prod   rollout:prod/checkout"
    assert shown[1] == "Baking at 50 %   started 12m ago"
    assert shown[3].split() == ["internal", "QA", "5", "%", "baked", "10m,", "approved", "by", "ana"]
    assert shown[4].startswith("▶  half         50 %   ━")
    assert shown[4].endswith(" 1m30s of 30m")
    assert shown[5].split() == ["everyone", "100", "%", "bake", "10m"]
    assert "errors: healthy: 0.002, limit above 0.05 for 2m" in shown
    assert shown[-1] == "stop it: sluice abort rollout:prod/checkout"


def test_the_screen_tells_what_cannot_be_seen_and_what_failed() -> None:
    seen = sight(live=sights.blind(), works=sights.tried(3, "activity Heartbeat timeout"))
    shown = plain(screen(seen, NOW)).splitlines()
    assert "gate errors cannot be seen: connection refused" in shown
    assert "watch_health, attempt 3: activity Heartbeat timeout" in shown


def test_a_log_line_is_one_line_with_everything() -> None:
    held = sights.at_half().hold("drift: somebody\nchanged it", None, NOW).in_phase(Phase.HELD)
    assert line(sight(held), NOW) == (
        "03:12:05 | 50 % | Held | half | errors healthy: 0.002, limit above 0.05 for 2m | drift: somebody changed it"
    )


@pytest.mark.parametrize("seconds", [0, 10, 200, 449])
def test_the_clock_alone_makes_no_new_log_line(seconds: int) -> None:
    states = {"errors": sights.gate(Verdict.HEALTHY, f"{seconds}", timedelta(seconds=seconds))}
    assert change(sight(live=sights.live().model_copy(update={"states": states}))) == change(sight())


def test_each_of_these_makes_a_new_log_line() -> None:
    before = sight()
    breached = sights.live(Verdict.BREACHED, "0.2 is beyond the limit above 0.05 for 2m, since 2m")
    quarter = {"errors": sights.gate(Verdict.HEALTHY, "0", timedelta(minutes=8))}
    news = [
        sight(sights.at_half().hold("held by ana", "ana", NOW).in_phase(Phase.HELD)),
        sight(sights.at_half().noted("ignored: approve: …")),
        sight(live=breached),
        sight(live=sights.live().model_copy(update={"states": quarter})),
        replace(before, silent=NO_WORKER),
        replace(before, works=sights.tried(2, "activity Heartbeat timeout")),
    ]
    assert len({change(seen) for seen in [before, *news]}) == len(news) + 1


def test_words_from_elsewhere_are_neither_markup_nor_escape_codes() -> None:
    held = sights.at_half().hold("[bold]no[/bold] \x1b[31mred", None, NOW).in_phase(Phase.HELD)
    shown = plain(screen(sight(held), NOW))
    assert "[bold]no[/bold] \N{REPLACEMENT CHARACTER}[31mred" in shown


def test_the_screen_fits_a_narrow_terminal() -> None:
    paper = io.StringIO()
    Console(width=40, file=paper).print(screen(sight(), NOW))
    assert max(len(shown.rstrip()) for shown in paper.getvalue().splitlines()) <= 40
