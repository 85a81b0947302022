"""When the article's alerting rule would have fired, had nobody been faster: arithmetic, not a measurement.

A run that is rolled back after seconds cannot show what a rule with a window of five minutes does two minutes later. So
the demo goes on counting on paper, with what this run itself has shown: what the candidate had served before its first
bad response, how much it served after it, and which share of that was bad. `rate(errors[5m]) / rate(requests[5m])` is
the share of errors among the requests of the last five minutes; the rule is pending once that is above its limit, and
fires when it has been for two minutes.

Left out, all in the rule's favour: the scrape and the evaluation that it needs to see anything (a second each here,
15 s and a minute in Prometheus' defaults), and what Alertmanager waits before it tells anybody.
"""

from dataclasses import dataclass
from typing import Final

from testbed.report import LoadReport


@dataclass(frozen=True)
class Rule:
    """A limit on the share of errors in a sliding window.

    Attributes:
        limit: Bad when the share is greater, 0–1.
        window_s: Length of the window, seconds.
        for_s: How long it must be bad without a break, seconds.
        words: The same for people.
    """

    limit: float
    window_s: float
    for_s: float
    words: str


ARTICLE: Final = Rule(0.05, 300.0, 120.0, "5xx rate[5m] above 5 % for 2m")
"""`deploy/compose/rules.yml`, and the gate `hard-5xx` of the examples."""


@dataclass(frozen=True)
class Failing:
    """A candidate that fails, as a run has shown it.

    Attributes:
        before: Its requests before the first bad one.
        before_s: Over how many seconds they were spread, taken as even; greater than 0.
        rate: Its requests a second from then on.
        share: Share of bad ones among these, 0–1.
    """

    before: float
    before_s: float
    rate: float
    share: float


def fires_after(rule: Rule, failing: Failing) -> float | None:
    """Seconds from the first bad response to the firing of a rule, if everything went on at the same rate.

    After t seconds the window holds `rate·t` requests since the first bad one, and of those before it as many as it
    still reaches. While it reaches all of them, `share·rate·t > limit·(rate·t + before)`; later the same with what is
    left of `before`. The share in the window only rises, so the rule's `for` begins once.

    Returns:
        Seconds, at least `for_s`; None if it never fires: no requests, or a share that is not above the limit.
    """
    if failing.rate <= 0 or failing.share <= rule.limit:
        return None
    excess = failing.rate * (failing.share - rule.limit)
    beyond_s = rule.limit * failing.before / excess
    if beyond_s + failing.before_s > rule.window_s:  # by then the oldest have left the window
        slope = rule.limit * failing.before / failing.before_s
        beyond_s = slope * rule.window_s / (excess + slope)
    return beyond_s + rule.for_s


def shows(load: LoadReport) -> bool:
    """Whether a report still has the second of the first bad response; it holds the last half minute only."""
    first = load.first_bad_at
    return first is not None and bool(load.last_seconds) and load.last_seconds[0][0] <= int(first)


def failing(load: LoadReport, candidate: str, until: float) -> Failing | None:
    """What visitors have counted of a failing candidate.

    The second of the first bad response is shared out in proportion; rate and share come from the whole seconds after
    it, because the first bad response itself is there by choice, not by chance.

    Args:
        load: The last report that `shows` it.
        candidate: What the candidate calls itself.
        until: Unix seconds; nothing later is counted, because then the traffic may have been taken away already.

    Returns:
        None without a whole second between the first bad response and `until`, or when the report has forgotten it.
    """
    first = load.first_bad_at
    if first is None or not shows(load):
        return None
    seen = [counts for second, counts in load.last_seconds if int(first) < second < int(until)]
    requests = sum(counts.get(candidate, 0) for counts in seen)
    if not requests:
        return None
    since = sum(counts.get(candidate, 0) for second, counts in load.last_seconds if second > int(first))
    shared = sum(counts.get(candidate, 0) for second, counts in load.last_seconds if second == int(first))
    return Failing(
        before=load.versions.get(candidate, 0) - since - shared * (1 - first % 1),
        before_s=max(first - load.started_at, 1.0),
        rate=requests / len(seen),
        share=sum(counts.get("bad", 0) for counts in seen) / requests,
    )
