"""The mark of a write and the patch that leaves it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from activities.kubernetes import ANNOTATION, Json, Mark, annotated, escaped, found_in, guarded, mark_of, written
from activities.ports import Write
from rollout.errors import Misconfigured

OWNER = "rollout:prod/checkout"
PATH = "/metadata/annotations/sluice.dev~1rollout"
TEXTS = some.text(max_size=8)


def there(annotations: dict[str, str] | None = None) -> Json:
    metadata: Json = {"name": "checkout", "resourceVersion": "41"}
    return {"metadata": metadata if annotations is None else {**metadata, "annotations": annotations}}


def patched(found: Json, operations: list[Json]) -> dict[str, str]:
    """Annotations after a patch, by RFC 6902: `add` needs the way to it, `remove` needs it itself."""
    document = json.loads(json.dumps(found))
    for each in operations:
        *way, last = [step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:]]
        place: Any = document
        for step in way:
            place = place[step]
        if each["op"] == "remove":
            del place[last]
        else:
            assert each["op"] == "add" or last in place
            place[last] = each["value"]
    told: dict[str, str] = document["metadata"].get("annotations") or {}
    return told


@pytest.mark.parametrize("annotations", [None, {}, {ANNOTATION: ""}, {ANNOTATION: "by hand"}, {ANNOTATION: "[]"}])
def test_an_object_without_a_mark_of_ours_is_nobodys(annotations: dict[str, str] | None) -> None:
    assert mark_of(there(annotations)) == Mark()


def test_a_mark_of_a_newer_worker_is_read_as_far_as_it_is_known() -> None:
    text = json.dumps({"epoch": 3, "owner": OWNER, "percent": 5, "newer": {"a": 1}})
    assert mark_of(there({ANNOTATION: text})) == Mark(epoch=3, owner=OWNER, percent=5)


def test_a_write_leaves_who_and_when_and_a_release_leaves_the_fence() -> None:
    write = Write(percent=5, epoch=3, owner=OWNER)
    assert written(write, 1.23456, pods=2) == Mark(epoch=3, owner=OWNER, percent=5, at=1.235, more={"pods": 2})
    assert written(write.model_copy(update={"release": True}), 1) == Mark(epoch=3, percent=5, at=1)
    assert written(write, 1).same_as(written(write, 2))
    assert not written(write, 1).same_as(written(write.model_copy(update={"epoch": 4}), 1))


def test_the_patch_is_refused_by_a_clean_conflict_if_somebody_was_quicker() -> None:
    scale = {"op": "replace", "path": "/spec/replicas", "value": 3}
    first, mark, last = guarded(there({"team": "shop"}), Mark(epoch=1), scale)
    assert first == {"op": "replace", "path": "/metadata/resourceVersion", "value": "41"}
    assert mark == {"op": "add", "path": PATH, "value": '{"epoch":1}'}
    assert last == scale


@given(
    before=some.none() | some.dictionaries(TEXTS, TEXTS, max_size=4),
    changes=some.dictionaries(TEXTS, some.none() | TEXTS, max_size=4),
)
def test_annotations_are_set_and_taken_off_whatever_was_there(
    before: dict[str, str] | None, changes: dict[str, str | None]
) -> None:
    found = there(before)
    wanted = {**(before or {}), **changes}
    after = patched(found, annotated(found, changes))
    assert after == {key: value for key, value in wanted.items() if value is not None}
    assert annotated(there(after), changes) == []


@given(
    epoch=some.integers(0, 10**12),
    owner=some.none() | some.text(),
    percent=some.none() | some.floats(0, 100).map(lambda percent: round(percent, 2)),
    before=some.none() | some.dictionaries(TEXTS, TEXTS, max_size=3),
)
def test_what_is_marked_is_read_back(
    epoch: int, owner: str | None, percent: float | None, before: dict[str, str] | None
) -> None:
    mark, found = Mark(epoch=epoch, owner=owner, percent=percent, at=7), there(before)
    assert mark_of(there(patched(found, guarded(found, mark)))) == mark


@given(some.text())
def test_a_key_is_one_step_of_a_pointer(key: str) -> None:
    assert "/" not in escaped(key)
    assert escaped(key).replace("~1", "/").replace("~0", "~") == key


def test_an_entry_is_found_by_name_or_position_and_what_there_is_is_told() -> None:
    entries = [{"name": "pay"}, {"name": "all"}, {}, {"name": "all"}]
    assert found_in(entries, "pay", "HTTPRoute shop/checkout has no rule") == (0, {"name": "pay"})
    assert found_in(entries, 2, "HTTPRoute shop/checkout has no rule") == (2, {})
    with pytest.raises(Misconfigured, match=r"has no rule 'ghost'; there are: pay, all, 2, all$"):
        found_in(entries, "ghost", "HTTPRoute shop/checkout has no rule")
    with pytest.raises(Misconfigured, match=r"has no rule 'all' only once"):
        found_in(entries, "all", "HTTPRoute shop/checkout has no rule")
    with pytest.raises(Misconfigured, match=r"has no rule 9; there are: none$"):
        found_in([], 9, "HTTPRoute shop/checkout has no rule")
