"""One row of the demo's table: what happened to one scenario, and what of it was not as promised.

Pure: made from the evidence of the run and the last report of the load.
"""

import math
from dataclasses import dataclass
from typing import Any

from rollout.happened import Phase
from starter.demo import spared
from starter.demo.article import ARTICLE, failing, fires_after
from starter.demo.evidence import Evidence
from starter.demo.scenarios import Scenario, Script
from testbed.report import LoadReport

CANDIDATE = "canary"  # what the candidate of the test bed calls itself, in metrics and in X-Version


@dataclass(frozen=True)
class Row:
    """The outcome of one scenario.

    Attributes:
        seconds_to_zero: From the first bad response served to the proof of 0 %; None without bad responses, or when
            the traffic did not come back.
        cause_to_zero_s: From the breach that could be seen in the metrics, or from the signal to abort, to the proof of
            0 %; None when there was neither.
        caught_by: The gate that ended it; None when none did.
        seconds_to_breach: From the first bad response served to that breach; None without either.
        seconds_to_flag_off: From the first bad response served to the proof that a flag is off; None without either.
        flag_at_end: What the shops give their visitors at the end, None in a scenario without a flag.
        rolled_back: Whether the release went back although there is a flag to turn off; None without a flag.
        article_rule_s: From the first bad response to when the article's rule would have fired, had everything gone on
            as it was: computed, see `article.py`; None without a breach, or when it never would have.
        spared: What the flag has brought, for people; empty when none was touched.
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
    caught_by: str | None
    seconds_to_breach: float | None
    article_rule_s: float | None
    seconds_to_flag_off: float | None
    flag_at_end: str | None
    rolled_back: bool | None
    spared: str
    shortfalls: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`; times in seconds, percents as whole numbers where they are."""
        return {
            "scenario": self.scenario,
            "workflow_id": self.workflow_id,
            "outcome": self.outcome,
            "seconds_to_zero": _rounded(self.seconds_to_zero),
            "bad_responses": self.bad_responses,
            "dropped_requests": self.dropped_requests,
            "requests": self.requests,
            "history_events": self.history_events,
            "percents_seen": [int(percent) if percent.is_integer() else percent for percent in self.percents_seen],
            "caught_by": self.caught_by,
            "seconds_to_breach": _rounded(self.seconds_to_breach),
            "article_rule_s": _rounded(self.article_rule_s),
            "seconds_to_flag_off": _rounded(self.seconds_to_flag_off),
            "flag_at_end": self.flag_at_end,
            "rolled_back": self.rolled_back,
        }

    @property
    def comparison(self) -> str:
        """How much sooner it was caught than by the article's rule, for people; empty when no gate caught it."""
        if self.caught_by is None:
            return ""
        late = "not have fired" if self.article_rule_s is None else f"have fired after {self.article_rule_s:.0f} s"
        rule = f"going on like this, the article's rule ({ARTICLE.words}) would {late}"
        if self.seconds_to_breach is None:
            return f"{self.caught_by} caught it without a bad response; {rule}"
        return f"{self.caught_by} caught it {self.seconds_to_breach:.1f} s after the first bad response; {rule}"


def score(
    scenario: Scenario,
    script: Script,
    evidence: Evidence,
    load: LoadReport,
    link: str,
    *,
    failing_load: LoadReport | None = None,
    flag_at_end: str | None = None,
) -> Row:
    """Make the row.

    Args:
        scenario: What was played.
        script: The spec that was started.
        evidence: Of the closed run.
        load: The last report, taken after the late drops have been waited for.
        link: The run's page.
        failing_load: The newest report that still showed the first bad response; the last one by default.
        flag_at_end: What the shops give their visitors by then, None without a flag.
    """
    zero_at, first_bad_at = evidence.zero_at, load.first_bad_at
    bad_before_zero = zero_at is not None and first_bad_at is not None and first_bad_at <= zero_at
    flag = evidence.spared
    off_at = flag.off_at if flag else None
    bad_before_off = off_at is not None and first_bad_at is not None and first_bad_at <= off_at
    to_flag_off = _between(first_bad_at, off_at) if bad_before_off else None
    went_back = zero_at is not None
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
        caught_by=evidence.caught_by,
        seconds_to_breach=_between(first_bad_at, evidence.fired_at) if bad_before_zero or bad_before_off else None,
        article_rule_s=_article_rule_s(failing_load or load, evidence.fired_at),
        seconds_to_flag_off=to_flag_off,
        flag_at_end=flag_at_end,
        rolled_back=went_back if scenario.spares else None,
        spared=spared.in_words(flag, to_flag_off, flag_at_end, went_back=went_back) if flag else "",
        shortfalls=(
            *_of_the_run(scenario, script, evidence),
            *_of_the_visitors(load, evidence),
            *(spared.shortfalls(flag, load, flag_at_end, went_back=went_back) if scenario.spares else ()),
        ),
    )


def _between(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _article_rule_s(load: LoadReport, breached_at: float | None) -> float | None:
    shown = None if breached_at is None else failing(load, CANDIDATE, breached_at)
    return fires_after(ARTICLE, shown) if shown else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _of_the_run(scenario: Scenario, script: Script, evidence: Evidence) -> tuple[str, ...]:
    found = []
    wanted = scenario.percents(script.stages)
    if evidence.outcome != scenario.outcome:
        reason = evidence.reason or "no reason given"
        found.append(f"it ended {evidence.outcome} instead of {scenario.outcome}: {reason}")
    elif evidence.percents_seen != wanted:
        found.append(f"the percents proven were {_ladder(evidence.percents_seen)} instead of {_ladder(wanted)}")
    elif evidence.caught_by != scenario.caught_by:
        found.append(f"it was caught by {evidence.caught_by or 'nobody'} instead of {scenario.caught_by}")
    elif scenario.outcome is Phase.ROLLED_BACK:
        found += _late("0 % was proven", _between(evidence.fired_at, evidence.zero_at), script)
    elif scenario.spares and evidence.spared and evidence.spared.off_at:
        found += _late("the flag was proven off", _between(evidence.fired_at, evidence.spared.off_at), script)
    if evidence.events > scenario.most_events:
        found.append(f"the history has {evidence.events} events, promised are at most {scenario.most_events}")
    return tuple(found)


def _late(what: str, seconds: float | None, script: Script) -> list[str]:
    if seconds is None:
        return [f"the history shows no breach of a gate after which {what}"]
    if seconds <= script.most_to_zero_s:
        return []
    promised = f"promised are {script.most_to_zero_s:g} s"
    return [f"{what} {seconds:.1f} s after the breach could be seen, {promised}"]


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
