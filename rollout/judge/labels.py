"""Label sets as text: `{instance="a", version="canary"}`, names sorted, values as JSON strings.

Vectors are keyed by this text, because it is what people are shown and what states are keyed by; whoever needs a single
label reads it back here. Carrying structured labels beside every value was rejected: one gate in ten looks at them.
"""

import json
from collections.abc import Mapping
from functools import lru_cache

_READ = json.JSONDecoder()


def text(labels: Mapping[str, str]) -> str:
    """Labels as text, without the series' name; nothing for no labels."""
    shown = [f"{name}={json.dumps(labels[name], ensure_ascii=False)}" for name in sorted(labels) if name != "__name__"]
    return f"{{{', '.join(shown)}}}" if shown else ""


@lru_cache(maxsize=8192)
def parsed(written: str) -> Mapping[str, str]:
    """The inverse of `text`, for names without `=`; text that it did not write has no labels."""
    found: dict[str, str] = {}
    rest = written.removeprefix("{")
    while rest not in {"", "}"}:
        name, _, rest = rest.partition("=")
        try:
            value, end = _READ.raw_decode(rest)
        except ValueError:
            return {}
        if not isinstance(value, str):
            return {}
        found[name] = value
        rest = rest[end:].removeprefix(", ")
    return found


def without(written: str, label: str) -> str:
    """The same text without one label."""
    return text({name: value for name, value in parsed(written).items() if name != label})
