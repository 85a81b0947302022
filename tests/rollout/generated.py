"""What Hypothesis draws from: any JSON value, any spec that is right."""

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.rollout.given import ladder

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
durations = st.timedeltas(min_value=timedelta(seconds=10), max_value=timedelta(days=3))
optional: Callable[..., st.SearchStrategy[dict[str, Any]]] = lambda **fields: st.fixed_dictionaries(  # noqa: E731
    {}, optional=fields
)
versions = st.text(min_size=1, max_size=20)
gates = st.fixed_dictionaries(
    {"query": st.text(min_size=1, max_size=20), "above": st.floats(allow_nan=False, allow_infinity=False)},
    optional={"for": durations, "on_breach": st.sampled_from(["rollback", "hold"]), "standing": st.booleans()},
)


@st.composite
def written_specs(draw: st.DrawFn) -> dict[str, Any]:
    """Any spec that is right."""
    named = draw(st.dictionaries(labels, gates, max_size=3))
    groups = draw(st.lists(labels, unique=True, max_size=2))
    asked = optional(
        **({"from": st.lists(st.sampled_from(groups), unique=True)} if groups else {}),
        within=durations,
        then=st.sampled_from(["rollback", "hold"]),
        before=st.booleans(),
    )
    below = sorted(draw(st.sets(st.integers(1, 9_999), max_size=4)))
    rungs = [
        {"percent": hundredths / 100, "bake": draw(durations)} | draw(optional(approval=asked))
        for hundredths in (*below, 10_000)
    ]
    policy = optional(
        poll=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(seconds=5)),
        no_data=optional(hold=durations, then=st.sampled_from(["rollback", "hold"])),
        drift=st.sampled_from(["hold", "reassert"]),
        max_duration=durations,
    )
    header = {"name": "X-Canary", "candidate": "yes", "stable": "no"}
    return {
        "service": draw(labels),
        "environment": draw(labels),
        "release": {"candidate": draw(versions), "stable": draw(versions)}
        | draw(optional(commit=st.text(max_size=40), committed_at=st.datetimes(timezones=st.just(UTC)))),
        "strategy": ladder(*rungs),
        "routes": [
            {"kind": "envoy", "connection": place, "service": "web"} | draw(st.sampled_from([{}, {"header": header}]))
            for place in draw(st.lists(labels, min_size=1, max_size=3, unique=True))
        ],
        "gates": named,
        "approvals": {"people": groups, "four_eyes": draw(st.booleans())},
        "policy": draw(policy),
    } | draw(optional(requested_by=st.text(max_size=20)))
