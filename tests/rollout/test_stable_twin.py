"""The candidate's query, asked of stable."""

import pytest

from rollout.queries import stable_twin
from tests.rollout.given import ARTICLE


def twin(query: str, stable: str = "stable") -> str:
    return stable_twin(query, "version", "canary", stable)


def test_the_articles_ratio_is_asked_of_stable_in_both_places() -> None:
    assert twin(ARTICLE) == ARTICLE.replace('"canary"', '"stable"')
    assert twin(ARTICLE).count('version="stable"') == 2


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("x{version='canary'}", 'x{version="stable"}'),
        ("x{version=`canary`}", 'x{version="stable"}'),
        ('x{a="b" , version = "canary"}', 'x{a="b" , version = "stable"}'),
        ('x{note="version=\\"canary\\"",version="canary"}', 'x{note="version=\\"canary\\"",version="stable"}'),
        ('x{app_version="canary",version="canary"}', 'x{app_version="canary",version="stable"}'),
        ('x{version="canary"} # not version="canary"', 'x{version="stable"} # not version="canary"'),
        ('sum by (version) (x{version="canary"})', 'sum by (version) (x{version="stable"})'),
        ('x{version="canary"} / on(pod) y', 'x{version="stable"} / on(pod) y'),
    ],
)
def test_only_the_label_s_own_matchers_change(query: str, wanted: str) -> None:
    assert twin(query) == wanted


def test_a_value_of_stable_cannot_break_out_of_its_string() -> None:
    assert twin('x{version="canary"}', '1.0"} or vector(0) #') == 'x{version="1.0\\"} or vector(0) #"}'


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("up", 'it does not ask for version="canary"'),
        ('x{note="version=canary"}', 'it does not ask for version="canary"'),
        ('x{version="canary"} / x{version=~"canary|new"}', 'it also asks for version=~"canary|new"'),
        ('x{version="canary"} / x{version!="stable"}', 'it also asks for version!="stable"'),
        ('x{version="canary"} - x{version="stable"}', 'it also asks for version="stable"'),
        ('x{version=~"canary"}', 'it also asks for version=~"canary"'),
    ],
)
def test_where_it_cannot_be_read_off_it_says_why(query: str, reason: str) -> None:
    with pytest.raises(ValueError, match="cannot be read off") as refused:
        twin(query)
    assert reason in str(refused.value)
    assert "write it as `unless_baseline`" in str(refused.value)
