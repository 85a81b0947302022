"""YAML as JSON would have it: no surprises, and a line for everything."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starter.yamlfile import Unreadable, read_yaml


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1:30", "1:30"),
        ("2026-11-20T10:02:00Z", "2026-11-20T10:02:00Z"),
        ("2026-11-20", "2026-11-20"),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5m", "5m"),
        ('"5"', "5"),
        ("~", None),
        ("", None),
        ("null", None),
        ("!!str 5", "5"),
        ("=", "="),
    ],
)
def test_a_plain_word_is_what_json_would_make_of_it(written: str, read: Any) -> None:
    found = read_yaml(f"key: {written}").value["key"]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize("key", ["on", "yes", "404", "null", "1.5", "2026-11-20"])
def test_a_key_is_the_text_as_it_was_written(key: str) -> None:
    assert read_yaml(f"{key}: 1").value == {key: 1}


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", 5, "the key 'c' is there twice, first in line 3"),
        ("a:\n\t- 1\n", 2, "this is not YAML: found character '\\t' that cannot start any token"),
        ("a: [1, 2\nb: 3\n", 2, "this is not YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n---\na: 2\n", 2, "this is not YAML: but found another document"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "the tag !!python/object:os.system is not allowed"),
        ("a: !ours x\n", 1, "the tag !ours is not allowed"),
        ("a: !!timestamp 2026-11-20\n", 1, "the tag !!timestamp is not allowed"),
        ("a: !!set {b: c}\n", 1, "the tag !!set is not allowed"),
        ("a: !!int five\n", 1, "five is not a number"),
        ("a: 1\nb: .nan\n", 2, ".nan is not a number"),
        ("a: -.inf\n", 1, "-.inf is not a number"),
        ("a: 1e999\n", 1, "1e999 is not a number"),
        ("? [a, b]\n: 1\n", 1, "a key must be a word, not a list or a mapping"),
        ("a: &it\n  b: *it\n", 1, "it is nested too deeply, or an alias refers to itself"),
        ("a: 1\nb: \x07\n", 2, "this is not YAML: the character '\\x07' is not allowed"),
        ("# only a comment\n", 1, "it is empty"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_line(text: str, line: int, sentence: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_yaml(text)
    assert (refused.value.line, str(refused.value)) == (line, sentence)


def test_an_alias_may_be_used_again_but_not_grow_without_end() -> None:
    assert read_yaml("a: &it {b: 1}\nc: *it\n").value == {"a": {"b": 1}, "c": {"b": 1}}
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcde", "bcdef", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(Unreadable, match="nested too deeply"):
        read_yaml(bomb)


def test_everything_has_the_line_of_its_key_or_of_its_dash() -> None:
    lines = read_yaml("a:\n  - b: 1\n    c: {d: 2}\n  -\n    e: 3\nf: |\n  x\n  y\n").lines
    assert lines[()] == 1
    assert lines["a",] == 1
    assert lines["a", 0] == 2
    assert lines["a", 0, "c", "d"] == 3
    assert lines["a", 1, "e"] == 5
    assert lines["f",] == 6


_WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(_JSON)
def test_json_read_as_yaml_is_the_same(value: Any) -> None:
    assert read_yaml(json.dumps(value, indent=2)).value == value
