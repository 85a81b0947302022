"""The pure half: golden requests, properties, and what is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.aws import Json
from activities.ports import Write
from activities.routers.lambda_alias import desired, is_fit, view
from rollout.errors import Misconfigured
from rollout.routes import LambdaAliasRoute

GOLDEN = sorted((Path(__file__).parent / "lambda_alias").glob("*.json"))
ROUTE = LambdaAliasRoute(connection="cloud", function="checkout", alias="live", candidate="2", stable="1")
OWNER = "rollout:prod/checkout"


def alias(version: str = "1", weights: dict[str, float] | None = None, description: str = "") -> Json:
    """AWS's answer to GetAlias."""
    config = {"AdditionalVersionWeights": weights or {}}
    return {
        "Name": "live",
        "FunctionVersion": version,
        "RoutingConfig": config,
        "Description": description,
        "RevisionId": "1",
    }


def write(percent: float = 5, epoch: int = 1, *, owner: str = OWNER, release: bool = False) -> Write:
    return Write(percent=percent, epoch=epoch, owner=owner, release=release)


# ── Golden requests ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_request_is_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    made = desired(case["alias"], LambdaAliasRoute(**case["route"]), Write(**case["write"]))
    assert made == case["expected"], json.dumps(made, indent=2, ensure_ascii=False)


def test_there_are_golden_requests() -> None:
    assert len(GOLDEN) >= 9


# ── Properties ──────────────────────────────────────────────────────────────────────────────────

PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,40}", fullmatch=True)
OWNERS = st.builds("rollout:{}/{}".format, NAMES, NAMES)
WRITES = st.builds(write, PERCENTS, st.integers(0, 2**53), owner=OWNERS, release=st.booleans())
WORDS = st.text(max_size=90)
VERSIONS = st.sampled_from(["1", "2", "7"])
ALIASES = st.builds(
    lambda main, other, share, words: alias(main, {other: share} if other != main else {}, words),
    VERSIONS,
    VERSIONS,
    st.integers(0, 10_000).map(lambda part: part / 10_000),
    WORDS,
)


def carried_out(before: Json, asked: Write) -> Json:
    """The alias after a write."""
    return {**before, **desired(before, ROUTE, asked)}


@given(ALIASES, WRITES)
def test_what_was_written_reads_back(before: Json, asked: Write) -> None:
    seen = view(carried_out(before, asked))
    assert seen.shares.get("2", 0) == asked.percent
    assert sum(seen.shares.values()) == pytest.approx(100)
    assert not seen.others(ROUTE)
    assert (seen.mark.epoch, seen.mark.percent) == (asked.epoch, asked.percent)
    assert seen.mark.owner == (None if asked.release else asked.owner)


@given(ALIASES, WRITES)
def test_the_request_is_one_that_aws_takes(before: Json, asked: Write) -> None:
    made = desired(before, ROUTE, asked)
    extra = made["RoutingConfig"]["AdditionalVersionWeights"]
    assert made["FunctionVersion"] not in extra
    assert all(0 < weight < 1 for weight in extra.values())
    assert len(extra) <= 1
    assert len(made["Description"]) <= 256


@given(ALIASES, WRITES, WRITES)
def test_only_the_last_write_counts(before: Json, first: Write, last: Write) -> None:
    assert desired(carried_out(before, first), ROUTE, last) == desired(before, ROUTE, last)


@given(WORDS, WRITES)
def test_the_operators_words_stay(words: str, asked: Write) -> None:
    made = desired(alias(description=words), ROUTE, asked)
    assert made["Description"].startswith(words)
    assert view({**alias(), **made}).mark.words == words


@given(ALIASES)
def test_shares_are_never_negative_and_all_invocations(before: Json) -> None:
    shares = view(before).shares
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(100)


# ── What is read ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("there", "candidate", "others"),
    [
        (alias(), 0, []),
        (alias("2"), 100, []),
        (alias("1", {"2": 0.29}), 29, []),
        (alias("2", {"1": 0.29}), 71, []),
        (alias("1", {"2": 0.0}), 0, []),
        (alias("1", {"7": 0.1}), 0, ["7"]),
        (alias("7", {"2": 0.1}), 10, ["7"]),
        (alias("$LATEST"), 0, ["$LATEST"]),
        (alias("1", {"2": 0.0312345}), 3.12345, []),
    ],
)
def test_who_gets_what(there: Json, candidate: float, others: list[str]) -> None:
    seen = view(there)
    assert seen.shares.get("2", 0) == candidate
    assert seen.others(ROUTE) == others


def test_an_alias_as_aws_answers_without_a_routing_config() -> None:
    bare = {"Name": "live", "FunctionVersion": "1", "RevisionId": "1"}
    seen = view(bare)
    assert (seen.shares, seen.mark.epoch, seen.mark.owner) == ({"1": 100}, 0, None)
    assert desired(bare, ROUTE, write())["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.05}}


@pytest.mark.parametrize(
    "description",
    ["", "sluice", "[sluice]", "[sluice epoch=x percent=5]", "[sluice epoch=5 percent=5] and more", "[sluice epoch=5"],
)
def test_what_is_no_mark_is_the_operators(description: str) -> None:
    mark = view(alias(description=description)).mark
    assert (mark.epoch, mark.owner, mark.words) == (0, None, description)


@pytest.mark.parametrize(
    ("state", "fit"), [("Active", True), ("Pending", False), ("Inactive", False), ("Failed", False)]
)
def test_a_version_takes_invocations_if_it_is_active(state: str, fit: bool) -> None:
    assert is_fit({"State": state}) is fit


# ── What is refused ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("percent", [-1, 100.01, 0.001, 33.333])
def test_a_percent_without_a_whole_weight_is_refused(percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"0\.01"):
        desired(alias(), ROUTE, write(percent))


def test_a_description_without_room_for_the_mark_is_refused_with_its_length() -> None:
    with pytest.raises(Misconfigured, match="has 220 characters") as refused:
        desired(alias(description="x" * 220), ROUTE, write())
    room = int(str(refused.value).rpartition(" ")[2])
    assert len(desired(alias(description="x" * room), ROUTE, write())["Description"]) == 256
