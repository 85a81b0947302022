from datetime import timedelta

import pytest
from pydantic import ValidationError

from rollout.routes import EnvoyRoute, Sticky


def test_users_are_told_apart_by_a_cookie_unless_a_header_is_named() -> None:
    assert Sticky().cookie_name == "sluice-user"
    assert Sticky(cookie="who").cookie_name == "who"
    assert Sticky(header="X-User").cookie_name is None


def test_a_route_says_whether_its_users_are_sticky() -> None:
    assert not EnvoyRoute(connection="edge-1", service="checkout").sticky_users
    assert EnvoyRoute(connection="edge-1", service="checkout", sticky=Sticky()).sticky_users


@pytest.mark.parametrize("sticky", [Sticky(), Sticky(cookie="who", ttl=timedelta(days=7)), Sticky(header="X-User")])
def test_what_was_written_reads_back(sticky: Sticky) -> None:
    assert Sticky.model_validate_json(sticky.model_dump_json()) == sticky


def test_a_cookies_life_is_written_as_people_write_durations() -> None:
    assert Sticky.model_validate({"ttl": "7d"}).ttl == timedelta(days=7)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"cookie": "who", "header": "X-User"}, "not by both"),
        ({"header": "X-User", "ttl": "2d"}, "ttl is the life of a cookie"),
        ({"ttl": "0s"}, "at least 1s"),
        ({"ttl": "1500ms"}, "whole seconds"),
        ({"cookie": "a;b"}, "pattern"),
        ({"cookie": ""}, "pattern"),
        ({"header": "X User"}, "pattern"),
        ({"name": "who"}, "Extra inputs"),
    ],
)
def test_what_cannot_tell_users_apart_is_refused(written: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Sticky.model_validate(written)
