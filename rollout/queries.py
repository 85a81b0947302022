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
_COMPARISON = re.compile(
    r"^(?P<query>.+?)\s*(?P<operator>>|<)\s*(?P<threshold>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$", re.DOTALL
)


def metric_names(query: str) -> tuple[str, ...]:
    """Names of the series that a query selects by `name{…}` or `name[…]`, sorted; bare names are not recognised."""
    bare = _GROUPING.sub(" ", _STRING.sub('""', query))
    return tuple(sorted(set(_SERIES.findall(bare))))


def split_comparison(query: str) -> tuple[str, str, float] | None:
    """Take a final `> number` or `< number` off an alerting expression.

    Returns:
        The query without it, `">"` or `"<"`, and the threshold; None where the text does not end so at the top level.
    """
    found = _COMPARISON.match(query.strip())
    if not found or not _balanced(found["query"]) or found["query"].rstrip().endswith(("=", "!", ">", "<")):
        return None
    return found["query"].strip(), found["operator"], float(found["threshold"])


def _balanced(text: str) -> bool:
    bare = _STRING.sub("", text)
    return all(bare.count(left) == bare.count(right) for left, right in ("()", "[]", "{}"))
