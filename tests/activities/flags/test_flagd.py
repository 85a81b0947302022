"""The pure half of the adapter for flag files: golden files, typos, places for a percent, what an answer proves."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.flags.flagd.document import flag_of, moved, parsed, turned_off, view
from activities.flags.flagd.marks import marks_of
from activities.flags.flagd.probing import PROBES, Answer, Seen, doubt
from activities.flags.flagd.targeting import NoPlaceError, Variants, placed, share
from activities.flags.flagd.typos import typos
from activities.ports import Write
from rollout.errors import Drifted, Misconfigured
from rollout.routes import FlagdRoute

Json = dict[str, Any]

GOLDEN = sorted((Path(__file__).parent / "flagd").glob("*.json"))
ROUTE = FlagdRoute(connection="flags-1", key="new-checkout")
OWNER = "rollout:prod/checkout"
VARIANTS = Variants(candidate="on", stable="off", known=("on", "off"), default="off")


def flag(targeting: object = None, **fields: Any) -> Json:
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": targeting,
    } | fields


def document(one: Json) -> Json:
    return {"flags": {"new-checkout": one}}


def write(percent: float, epoch: int = 1) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER)


# ── Golden files ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_flag_becomes_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    route, before = FlagdRoute(**case["route"]), document(case["flag"])
    made = moved(before, route, Write(**case["write"]), 9000) if case["write"] else turned_off(before, route, 9000)
    assert json.dumps(flag_of(made, route)) == json.dumps(case["expected"])  # order counts
    assert before == document(json.loads(file.read_bytes())["flag"])
    assert marks_of(case["expected"]).intact
    again = moved(made, route, Write(**case["write"]), 9999) if case["write"] else turned_off(made, route, 9999)
    assert again == made


# ── Places for a percent ────────────────────────────────────────────────────────────────────────

PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
RULES = st.sampled_from([{"==": [{"var": "country"}, "at"]}, {"in": ["x", {"var": "email"}]}])
PLACES = st.recursive(
    st.none()
    | st.sampled_from(["on", "off"])
    | st.permutations([["on", 5], ["off", 95]]).map(lambda entries: {"fractional": list(entries)}),
    lambda inner: st.builds(lambda rule, last: {"if": [rule, "on", last]}, RULES, inner),
    max_leaves=4,
).filter(lambda logic: not isinstance(logic, str))


@given(PLACES, PERCENTS, PERCENTS)
def test_what_was_placed_is_read_back_and_nothing_else_is_changed(logic: object, first: float, then: float) -> None:
    once = placed(logic, first, VARIANTS)
    assert math.isclose(share(once, VARIANTS), first, abs_tol=1e-9)
    assert placed(once, then, VARIANTS) == placed(logic, then, VARIANTS)


@pytest.mark.parametrize(
    ("targeting", "words"),
    [
        ({"fractional": [["on", 5], ["blue", 5], ["off", 90]]}, "also gives blue"),
        ({"fractional": [["on", 5], ["off", 90], ["on", 5]]}, "no variant with a weight of its own"),
        ({"fractional": [["on", 12.5], ["off", 87.5]]}, "no variant with a weight of its own"),
        ({"fractional": [["on", 0], ["off", 0]]}, "no weight at all"),
        ({"fractional": []}, "no weight at all"),
        ({"starts_with": [{"var": "email"}, "a"]}, "`starts_with` is neither `if` nor `fractional`"),
        ({"$ref": "shared"}, "`\\$ref` is neither"),
        ({"if": [{"var": "beta"}, "on", "blue"]}, "given 'blue', which is neither candidate nor stable"),
    ],
)
def test_a_targeting_without_a_place_is_refused_and_can_be_switched_off(targeting: object, words: str) -> None:
    before = document(flag(targeting, variants={"on": True, "off": False, "blue": False}))
    with pytest.raises(Misconfigured, match=words):
        moved(before, ROUTE, write(5), 1)
    for made in (turned_off(before, ROUTE, 1), moved(before, ROUTE, write(0), 1)):
        assert made["flags"]["new-checkout"]["targeting"] == {"if": [False, targeting, "off"]}


def test_another_field_that_would_draw_users_anew_is_refused_until_nobody_has_the_feature() -> None:
    by_account = ROUTE.model_copy(update={"bucket_by": "account"})
    with pytest.raises(Misconfigured, match="goes by flag and targeting key, the spec by the field account"):
        moved(document(flag({"fractional": [["on", 5], ["off", 95]]})), by_account, write(25), 1)
    made = moved(document(flag({"fractional": [["on", 0], ["off", 1]]})), by_account, write(25), 1)
    expected = {"fractional": [{"var": "account"}, ["on", 2500], ["off", 7500]]}
    assert made["flags"]["new-checkout"]["targeting"] == expected


def test_a_percent_finer_than_the_weights_has_no_place() -> None:
    with pytest.raises(NoPlaceError, match="finer"):
        placed(None, 0.005, VARIANTS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "DISABLED"}, '"state": "ENABLED"'),
        ({"state": "MAYBE"}, '"state": "ENABLED"'),
        ({"defaultVariant": "on"}, "defaultVariant 'on', which users without a key get"),
        ({"defaultVariant": None}, "defaultVariant None"),
        ({"variants": {"on": True}}, "no variant 'off'; it has on"),
        ({"variants": {"off": True}}, "no variant 'on'; it has off"),
    ],
)
def test_a_flag_that_cannot_carry_a_percent_is_told_what_to_change(fields: Json, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        moved(document(flag(**fields)), ROUTE, write(5), 1)


def test_a_repetition_of_the_last_raise_finds_the_flag_switched_off_and_leaves_it() -> None:
    raised = moved(document(flag()), ROUTE, write(5, epoch=3), 1)
    with pytest.raises(Drifted, match="switched the flag off since it was at 5 %; it stays off"):
        moved(turned_off(raised, ROUTE, 2), ROUTE, write(5, epoch=3), 3)


def test_a_generation_is_newer_than_any_before_also_if_the_clock_is_not() -> None:
    once = moved(document(flag()), ROUTE, write(5, epoch=1), 5000)
    twice = moved(once, ROUTE, write(6, epoch=2), 4000)
    assert [view(flag_of(each, ROUTE), ROUTE).marks.generation for each in (once, twice)] == [5000, 5001]


# ── Files ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not the JSON of a flag file"),
        (b'{"flags": {', "not the JSON of a flag file"),
        (b"\xff", "not the JSON of a flag file"),
        (b'{"flags": {"a": NaN}}', "NaN is no number"),
        (b'{"flags": {"a": {}, "a": {}}}', "key 'a' is there twice"),
        (b"[]", "no flag file"),
        (b"{}", "no flag file"),
        (b'{"flags": []}', "no flag file"),
    ],
)
def test_what_is_no_flag_file_is_not_edited(content: bytes, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        parsed(content, "flags.json")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "MAYBE"}, "\"state\" is 'MAYBE', not ENABLED or DISABLED"),
        ({"variants": {}}, '"variants" is no object with variants'),
        ({"variants": {"on": True, "off": "no"}}, "values of different types"),
        ({"defaultVariant": "of"}, "\"defaultVariant\" 'of' is none of on, off"),
        ({"targeting": "on"}, '"targeting" is no object'),
        ({"targeting": {"fractional": [["onn", 5], ["off", 95]]}}, "variant 'onn', which is none of on, off"),
        ({"targeting": {"fractional": [["on", 12.5], ["off", 87.5]]}}, "weight 12.5 for on, which is no whole number"),
        ({"targeting": {"fractional": [["on", "5"], ["off", 95]]}}, "weight 5 for on, which is no whole number"),
        ({"targeting": {"fractional": [["on", 0], ["off", 0]]}}, 'weights of its "fractional" add up to 0'),
        ({"targeting": {"fractional": [["on", 2**31], ["off", 0]]}}, "add up to 2147483648"),
        ({"targeting": {"fractional": {"on": 5}}}, '"fractional" is no list'),
        ({"targeting": {"fractional": [["on", 5, 6]]}}, "is no [variant, weight]"),
        ({"targeting": {"if": [{"var": "beta"}, "onn", "off"]}}, "gives 'onn', which is none of on, off"),
        ({"targeting": {"if": [{"$ref": "ghost"}, "on", None]}}, '"$ref" \'ghost\' is none of "$evaluators"'),
        ({"metadata": {"a": None}}, "its metadata has 'a' with a value that is no text"),
        ({"metadata": []}, "its metadata is no object"),
    ],
)
def test_a_typo_is_found_in_any_flag_and_named(fields: Json, words: str) -> None:
    found = list(typos({"flags": {"sound": flag(), "banner": flag() | fields}}))
    assert [each for each in found if words in each and each.startswith("flag banner: ")], found


def test_a_sound_file_has_no_typos() -> None:
    logic = {"if": [{"$ref": "staff"}, "on", {"fractional": [{"var": "email"}, ["on", 5], ["off", 95]]}]}
    whole = document(flag(logic, metadata={"a": 1, "b": "x", "c": True})) | {
        "$evaluators": {"staff": {"in": ["@", {"var": "email"}]}},
        "metadata": {"flagSetId": "shop"},
    }
    assert not list(typos(whole))


# ── What an answer proves ───────────────────────────────────────────────────────────────────────


def seen(on: int, total: int = len(PROBES), generation: int | None = 7, nobody: str | None = "off") -> Seen:
    answers = [Answer(variant="on" if place < on else "off", generation=generation) for place in range(total)]
    return Seen(who="the evaluator", nobody=Answer(variant=nobody, generation=generation), answers=tuple(answers))


def at(percent: float, generation: int = 7) -> Any:
    logic = placed(None, percent, VARIANTS)
    return view(flag(logic, metadata={"sluiceGeneration": generation}), ROUTE)


def test_the_exact_percents_are_exact_and_the_others_plausible() -> None:
    total = len(PROBES)
    assert doubt(seen(0), at(0), "f.json") is None
    assert doubt(seen(total), at(100), "f.json") is None
    assert doubt(seen(64), at(50), "f.json") is None
    assert "f.json says 0 %, the evaluator gives on 1, off 127 of 128 users" in str(doubt(seen(1), at(0), "f.json"))
    for count, percent in ((total - 1, 100), (0, 50), (total, 50), (64, 5)):
        assert doubt(seen(count), at(percent), "f.json"), (count, percent)


def test_an_evaluator_with_another_generation_proves_nothing_whatever_it_gives() -> None:
    problem = doubt(seen(0, generation=6), at(0), "f.json")
    assert problem == (
        "f.json says 0 % (generation 7), the evaluator still has generation 6 and gives off 128 of 128 users"
    )


def test_users_without_a_key_count_at_zero() -> None:
    assert "gives users without a key on, not off" in str(doubt(seen(0, nobody="on"), at(0), "f.json"))


def test_an_answer_without_a_variant_is_told_with_its_reason() -> None:
    broken = seen(0).model_copy(update={"answers": (Answer(generation=7, why="GENERAL"),)})
    assert str(doubt(broken, at(0), "f.json")).endswith("gives nothing 1 of 1 users: GENERAL")
