"""What is read off a query's text: the series it names, and the limit at its end."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.queries import labelled, metric_names, selector, split_comparison
from tests.rollout.given import ARTICLE, LIGHT

floats = st.floats(allow_nan=False, allow_infinity=False)
names_of_series = st.from_regex(r"[a-z_:][a-z0-9_:]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (ARTICLE, ("http_requests_total",)),
        ("rate(a[5m]) / rate(b{x='1'}[5m])", ("a", "b")),
        ("histogram_quantile(0.99, sum by (le, pod) (rate(took_bucket[1m])))", ("took_bucket",)),
        ("job:errors:ratio5m{job='api'}", ("job:errors:ratio5m",)),
        ("a{b='c[5m]', d=~\"e{1,2}[f]\"}", ("a",)),
        ("a [5m]", ("a",)),
        ("sum without (instance) (a{}) / on (job) group_left (x) b{}", ("a", "b")),
        ("rate(a[5m])[30m:1m]", ("a",)),
        ("# was: old_metric{job='x'}\na{}  # and b[5m]", ("a",)),
        ("a{x='# no comment'} + b{}", ("a", "b")),
        ("up", ()),
        ("vector(1)", ()),
        ('{__name__=~"http_.*"}', ()),
        ("", ()),
    ],
)
def test_series_are_named_by_their_selectors(query: str, names: tuple[str, ...]) -> None:
    assert metric_names(query) == names


@pytest.mark.parametrize("word", ["or", "and", "unless", "OR"])
def test_an_operator_in_front_of_braces_is_no_series(word: str) -> None:
    assert metric_names(f'a{{x="1"}} {word} {{job="b"}}') == ("a",)


def test_the_rule_of_the_article_is_split_word_for_word() -> None:
    assert split_comparison(f"{ARTICLE} > 0.05") == (ARTICLE, ">", 0.05)


def test_a_rule_over_several_lines_with_comments_is_split() -> None:
    rule = f"# errors of the canary\n{ARTICLE}\n  > 0.05  # five percent\n"
    assert split_comparison(rule) == (ARTICLE, ">", 0.05)


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("x < 1", ("x", "<", 1.0)),
        ("x<-1.5e-3", ("x", "<", -0.0015)),
        ("x > +2.", ("x", ">", 2.0)),
        ("x > .5", ("x", ">", 0.5)),
        ("sum by (pod) (x) > 3", ("sum by (pod) (x)", ">", 3.0)),
        ('x{a=~"(>"} > 3', ('x{a=~"(>"}', ">", 3.0)),
        ("(a > b) > 3", ("(a > b)", ">", 3.0)),
        ("a * 100 > 3", ("a * 100", ">", 3.0)),
        ("brand > 3", ("brand", ">", 3.0)),
    ],
)
def test_a_final_limit_is_taken_off(query: str, parts: tuple[str, str, float]) -> None:
    assert split_comparison(query) == parts


@pytest.mark.parametrize(
    "query",
    [
        ARTICLE,
        "",
        "x",
        "> 5",
        "x >= 5",
        "x <= 5",
        "x == 5",
        "x != 5",
        "x > bool 5",
        "x > y",
        "5 < x",
        "x > 5m",
        "x > Inf",
        "sum(x > 5)",
        "(x > 5",
        'x{a="> 5',
        "x # y > 5",
    ],
)
def test_what_ends_in_no_limit_is_left_alone(query: str) -> None:
    assert split_comparison(query) is None


@pytest.mark.parametrize("joined", ["a > 1 and b > 2", "a > 1 or b > 2", "a > 1 unless on (x) b > 2", "a AND b > 2"])
def test_a_limit_that_is_only_the_last_part_of_a_rule_is_not_taken_for_the_whole(joined: str) -> None:
    assert split_comparison(joined) is None


@pytest.mark.parametrize("filtered", ["a > b > 2", "a == 1 > 2", "a != b < 3"])
def test_a_value_that_is_itself_a_filter_is_refused_because_its_silence_would_look_like_health(filtered: str) -> None:
    assert split_comparison(filtered) is None


@given(names_of_series, st.sampled_from("<>"), floats)
@LIGHT
def test_whatever_limit_is_written_comes_back(series: str, operator: str, limit: float) -> None:
    expected = None if series in {"and", "or", "unless"} else (series, operator, limit)
    assert split_comparison(f"{series} {operator} {limit!r}") == expected


@given(st.text(alphabet="ab01 .<>=!(){}[]\"'`#\n_:-+e", max_size=60))
@LIGHT
def test_no_text_is_too_strange(query: str) -> None:
    metric_names(query)
    parts = split_comparison(query)
    assert parts is None or parts[1] in "<>"


def test_long_nonsense_is_answered_at_once() -> None:
    for query in ("a" + " " * 10_000 + "b", "a" + " >" * 5_000, "(" * 10_000 + " > 3", "(" * 5_000 + ")" * 5_000):
        assert split_comparison(query) is None


# ── Selectors of counters ───────────────────────────────────────────────────────────────────────

strange = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("up", ("up", "")),
        (" http_requests_total{} ", ("http_requests_total", "")),
        ('a{job="x"}', ("a", 'job="x"')),
        ('a { job="x", code=~"5..", }', ("a", 'job="x", code=~"5.."')),
        ("job:errors:rate5m{job='x'}", ("job:errors:rate5m", "job='x'")),
        ('a{path="/{id}\\"}"}', ("a", 'path="/{id}\\"}"')),
        ("a{b=`}`}", ("a", "b=`}`")),
    ],
)
def test_a_plain_selector_is_a_name_and_its_matchers(written: str, parts: tuple[str, str]) -> None:
    assert selector(written) == parts


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{}",
        '{job="x"}',
        "rate(a[5m])",
        "sum(a)",
        "a[5m]",
        "a{}[5m]",
        "a offset 5m",
        "a + b",
        'a{b="c}',
        "a}",
        "1a",
        "a{} > 0",
        "a{b{c}}",
        "5",
    ],
)
def test_anything_computed_is_no_selector(written: str) -> None:
    with pytest.raises(ValueError, match=r"^a plain selector such as name\{label=\"value\"\} is wanted"):
        selector(written)


def test_long_nonsense_is_refused_at_once() -> None:
    for written in ("a{" + 'b="c",' * 5_000, "a{" + "b" * 10_000, "a" + " " * 10_000 + "[", 'a{"' + "\\" * 10_000):
        with pytest.raises(ValueError, match="a plain selector"):
            selector(written)


@pytest.mark.parametrize(
    ("written", "labels", "suffix", "narrowed"),
    [
        ("a", {}, "", "a{}"),
        ("a", {}, "_count", "a_count{}"),
        ("a", {"version": ("canary", "stable")}, "", 'a{version=~"canary|stable"}'),
        ('a{job="x",}', {"version": ("v2",)}, "", 'a{job="x",version=~"v2"}'),
        ("a{job='x'}", {"le": ["0.3"], "z": ["1"]}, "_bucket", 'a_bucket{job=\'x\',le=~"0\\\\.3",z=~"1"}'),
        ("a", {"v": ("1.42.0+x|y", 'q"\\')}, "", 'a{v=~"1\\\\.42\\\\.0\\\\+x\\\\|y|q\\"\\\\\\\\"}'),
    ],
)
def test_a_selector_is_narrowed_to_the_values_of_its_labels(
    written: str, labels: dict[str, tuple[str, ...]], suffix: str, narrowed: str
) -> None:
    assert labelled(written, labels, suffix) == narrowed


@given(strange, strange)
@LIGHT
def test_whatever_a_version_is_called_it_is_matched_literally(candidate: str, stable: str) -> None:
    """Unquoted as PromQL does it, it is an anchored regular expression for exactly the two."""
    narrowed = labelled("a", {"version": (candidate, stable)})
    quoted = narrowed.removeprefix("a{version=~").removesuffix("}")
    pattern = json.loads(quoted)
    assert re.fullmatch(pattern, candidate)
    assert re.fullmatch(pattern, stable)
    assert not re.fullmatch(pattern, f"{candidate}x{stable}x")
    assert selector(narrowed) == ("a", f"version=~{quoted}")
