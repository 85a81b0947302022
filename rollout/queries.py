"""What can be read off a PromQL text without a PromQL parser.

Only two questions are asked: which series does it name (so that preflight can refuse a misspelt metric), and does it
end in a comparison (so that an alerting expression copied word for word becomes a value and a threshold: the filter
form answers "nothing" both when all is well and when nobody measures, and silence is not health). A full parser was
rejected: the server parses the query anyway and its own error text is better than ours.
"""

import re

_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`")
_SERIES = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?=[{\[])")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_COMMENT = re.compile(rf"({_STRING.pattern})|#[^\n]*")
_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"}
_SET_OPERATOR = re.compile(r"(?<![\w:])(?:and|or|unless)(?![\w:])", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_COMPARISON = re.compile(
    r"^(?P<query>.*\S)\s*(?P<operator>>|<)\s*(?P<threshold>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$", re.DOTALL
)


def metric_names(query: str) -> tuple[str, ...]:
    """Names of the series that a query selects by `name{…}` or `name[…]`, sorted; bare names are not recognised."""
    bare = _GROUPING.sub(" ", _STRING.sub('""', _without_comments(query)))
    return tuple(sorted({name for name in _SERIES.findall(bare) if name.lower() not in _WORDS}))


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


def _without_comments(query: str) -> str:
    return _COMMENT.sub(lambda found: found[1] or " ", query)


def _top_level(query: str) -> str:
    """What is outside strings and pairs of brackets."""
    bare, before = _STRING.sub("", query), ""
    while bare != before:
        bare, before = _BRACKETS.sub(" ", bare), bare
    return bare
