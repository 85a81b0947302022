"""One row of the demo's table: what happened to one scenario, and what of it was not as promised.

Pure: made from the evidence of the run and the last report of the load.
"""

import math
from dataclasses import dataclass
from typing import Any

from rollout.progress import Phase
from starter.demo.evidence import Evidence
from starter.demo.scenarios import MOST_EVENTS, Scenario, Script
from testbed.report import LoadReport

CANDIDATE = "canary"  # what the candidate of the test bed calls itself, in metrics and in X-Version


@dataclass(frozen=True)
class Row:
    """The outcome of one scenario.

    Attributes:
        seconds_to_zero: From the first bad response served to the proof of 0 %; None without bad responses, or when
            the traffic did not come back.
        cause_to_zero_s: From the firing of the gate's rule, or from the signal to abort, to the proof of 0 %; None when
            there was neither.
        shortfalls: Sentences; empty when everything was as promised.
    """

    scenario: str
    workflow_id: str
    link: str
    outcome: str
    reason: str
    seconds_to_zero: float | None
    cause_to_zero_s: float | None
    bad_responses: int
    dropped_requests: int
    requests: int
    history_events: int
    percents_seen: tuple[float, ...]
    shortfalls: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`; times in seconds, percents as whole numbers where they are."""
        return {
            "scenario": self.scenario,
            "workflow_id": self.workflow_id,
            "outcome": self.outcome,
            "seconds_to_zero": None if self.seconds_to_zero is None else round(self.seconds_to_zero, 3),
            "bad_responses": self.bad_responses,
            "dropped_requests": self.dropped_requests,
            "requests": self.requests,
            "history_events": self.history_events,
            "percents_seen": [int(percent) if percent.is_integer() else percent for percent in self.percents_seen],
        }


def score(scenario: Scenario, script: Script, evidence: Evidence, load: LoadReport, link: str) -> Row:
    """Make the row.

    Args:
        scenario: What was played.
        script: The spec that was started.
        evidence: Of the closed run.
        load: The last report, taken after the late drops have been waited for.
        link: The run's page.
    """
    zero_at, first_bad_at = evidence.zero_at, load.first_bad_at
    bad_before_zero = zero_at is not None and first_bad_at is not None and first_bad_at <= zero_at
    return Row(
        scenario=scenario.name,
        workflow_id=script.spec.workflow_id,
        link=link,
        outcome=evidence.outcome,
        reason=evidence.reason,
        seconds_to_zero=_between(first_bad_at, zero_at) if bad_before_zero else None,
        cause_to_zero_s=_between(evidence.fired_at or evidence.told_at, zero_at),
        bad_responses=load.bad_responses,
        dropped_requests=load.dropped_requests,
        requests=load.requests,
        history_events=evidence.events,
        percents_seen=evidence.percents_seen,
        shortfalls=(*_of_the_run(scenario, script, evidence), *_of_the_visitors(load, evidence)),
    )


def _between(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _of_the_run(scenario: Scenario, script: Script, evidence: Evidence) -> tuple[str, ...]:
    found = []
    wanted = scenario.percents(script.stages)
    if evidence.outcome != scenario.outcome:
        reason = evidence.reason or "no reason given"
        found.append(f"it ended {evidence.outcome} instead of {scenario.outcome}: {reason}")
    elif evidence.percents_seen != wanted:
        found.append(f"the percents proven were {_ladder(evidence.percents_seen)} instead of {_ladder(wanted)}")
    elif scenario.outcome is Phase.ROLLED_BACK:
        found += _late(_between(evidence.fired_at, evidence.zero_at), script)
    if evidence.events > MOST_EVENTS:
        found.append(f"the history has {evidence.events} events, promised are at most {MOST_EVENTS}")
    return tuple(found)


def _late(seconds: float | None, script: Script) -> list[str]:
    if seconds is None:
        return ["the history shows no breach of a gate followed by a proof of 0 %"]
    promised = f"promised are {script.most_to_zero_s:g} s"
    return (
        [f"0 % was proven {seconds:.1f} s after the rule fired, {promised}"] if seconds > script.most_to_zero_s else []
    )


def _of_the_visitors(load: LoadReport, evidence: Evidence) -> tuple[str, ...]:
    found = []
    if load.dropped_requests:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(load.dropped.items()))
        found.append(f"{load.dropped_requests} requests were dropped: {kinds}")
    if load.skipped_requests:
        found.append(f"{load.skipped_requests} requests were never sent, too many were unanswered")
    if evidence.percents_seen and (seen := _percent_at_the_end(load)) != evidence.percents_seen[-1]:
        proven = evidence.percents_seen[-1]
        found.append(f"after the end visitors saw {seen:g} % from the candidate, proven were {proven:g} %")
    return tuple(found)


def _percent_at_the_end(load: LoadReport) -> float:
    """Percent of the answers that the candidate gave in the load's last whole second, well after the run's end."""
    counts = [count for at, count in load.last_seconds if at < int(load.written_at)][-1:]
    mine = sum(count.get(CANDIDATE, 0) for count in counts)
    total = sum(n for count in counts for name, n in count.items() if name not in {"bad", "dropped"})
    return 100 * mine / total if total else math.nan


def _ladder(percents: tuple[float, ...]) -> str:
    return " → ".join(f"{percent:g}" for percent in percents) or "none"
