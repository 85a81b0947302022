"""What can be read off a PromQL text without a PromQL parser.

Only four questions are asked: which series does it name (so that preflight can refuse a misspelt metric), how would it
ask for stable instead of the candidate, how far does it look back, and does it end in a comparison (so that an alerting
expression copied word for word becomes a value and a threshold: the filter form answers "nothing" both when all is well
and when nobody measures, and silence is not health). A full parser was rejected: the server parses the query anyway and
its own error text is better than ours.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`")
_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?=[{\[])")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_COMMENT = re.compile(rf"({_STRING.pattern})|#[^\n]*")
_RANGE = re.compile(r"\[\s*((?:\d+(?:ms|[smhdwy]))+)\s*[\]:]")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"}
_SET_OPERATOR = re.compile(r"(?<![\w:])(?:and|or|unless)(?![\w:])", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_SELECTOR = re.compile(
    rf"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{{(?P<matchers>(?:{_STRING.pattern}|[^\"'`{{}}])*)\}})?$"
)
_COMPARISON = re.compile(
    r"^(?P<query>.*\S)\s*(?P<operator>>|<)\s*(?P<threshold>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$", re.DOTALL
)


def metric_names(query: str) -> tuple[str, ...]:
    """Names of the series that a query selects by `name{…}` or `name[…]`, sorted; bare names are not recognised."""
    bare = _GROUPING.sub(" ", _STRING.sub('""', _without_comments(query)))
    return tuple(sorted({name for name in _SERIES.findall(bare) if name.lower() not in _WORDS}))


def longest_range(query: str) -> timedelta:
    """How far a query looks back: the longest of its ranges (`[5m]`, of a subquery the outer part); 0 if none."""
    ranges = _RANGE.findall(_STRING.sub('""', _without_comments(query)))
    return max((_span(written) for written in ranges), default=timedelta())


def looks_back(queries: Iterable[str]) -> timedelta:
    """How far several queries look back: the longest range of them all; 0 if none."""
    return max((longest_range(query) for query in queries), default=timedelta())


def _span(written: str) -> timedelta:
    return timedelta(milliseconds=sum(int(amount) * _UNIT_MS[unit] for amount, unit in _PART.findall(written)))


def split_comparison(query: str) -> tuple[str, str, float] | None:
    """Take a final `> number` or `< number` off an alerting expression.

    Returns:
        The query without it and without comments, `">"` or `"<"`, and the threshold; None where the text does not end
        so at the top level, or compares more than once, or joins with `and`, `or`, `unless` (they bind less, so the
        limit would not be the whole text's).
    """
    found = _COMPARISON.match(_without_comments(query).strip())
    if not found:
        return None
    top = _top_level(found["query"])
    if set(top) & set("()[]{}<>=!") or _SET_OPERATOR.search(top):
        return None
    return found["query"], found["operator"], float(found["threshold"])


def selector(written: str) -> tuple[str, str]:
    """Take a plain selector apart: `http_requests_total{service="checkout"}`.

    Returns:
        The metric's name, and its matchers without the braces.

    Raises:
        ValueError: it is an expression, has a range or an offset, or names no metric.
    """
    found = _SELECTOR.match(written.strip())
    if not found:
        msg = (
            f'a plain selector such as name{{label="value"}} is wanted (no rate(), sum() or [5m]), not {written[:80]!r}'
        )
        raise ValueError(msg)
    return found["name"], (found["matchers"] or "").strip().rstrip(",").strip()


def labelled(written: str, labels: Mapping[str, Iterable[str]], suffix: str = "") -> str:
    """A selector with a longer name and more matchers: each label must have one of the given values.

    Args:
        written: a plain selector.
        labels: label → the values it may have.
        suffix: put behind the name, such as `_count`.
    """
    name, matchers = selector(written)
    added = [f'{label}=~"{"|".join(_escaped(value) for value in values)}"' for label, values in labels.items()]
    return f"{name}{suffix}{{{','.join(filter(None, [matchers, *added]))}}}"


def stable_twin(query: str, label: str, candidate: str, stable: str) -> str:
    """The same expression about stable: every `label="candidate"` becomes `label="stable"`.

    Args:
        query: PromQL about the candidate.
        label: the label that tells the versions apart.
        candidate: its value on the candidate's series.
        stable: its value on stable's series.

    Raises:
        ValueError: the query does not ask for `label="candidate"`, or asks for that label in another way as well.
    """
    asked = re.compile(rf"(?<![\w:.])({re.escape(label)}\s*(?:=~|!~|!=|=)\s*)({_STRING.pattern})|{_COMMENT.pattern}")
    others: list[str] = []
    count = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal count
        if found[1] is None:
            return found[0]  # another label's value, or a comment
        if found[1].removeprefix(label).strip() != "=" or found[2][1:-1] != candidate:
            others.append(found[0])
            return found[0]
        count += 1
        return found[1] + json.dumps(stable, ensure_ascii=False)

    twin = asked.sub(replaced, query)
    if others or not count:
        reason = f"it also asks for {others[0]}" if others else f'it does not ask for {label}="{candidate}"'
        msg = f"stable's query cannot be read off the candidate's: {reason}; write it as `unless_baseline`"
        raise ValueError(msg)
    return twin


def _escaped(value: str) -> str:
    """A label value as a regular expression inside a PromQL string."""
    return re.escape(value).replace("\\", "\\\\").replace('"', '\\"')


def _without_comments(query: str) -> str:
    return _COMMENT.sub(lambda found: found[1] or " ", query)


def _top_level(query: str) -> str:
    """What is outside strings and pairs of brackets."""
    bare, before = _STRING.sub("", query), ""
    while bare != before:
        bare, before = _BRACKETS.sub(" ", bare), bare
    return bare
