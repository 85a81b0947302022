import random

from testbed.visitors import Visitor, Visitors


def test_a_user_keeps_the_newest_value_of_every_cookie() -> None:
    user = Visitor("u1")
    assert user.fields() == ["X-User: u1"]
    user.was_told("stable", ["a=1; Path=/; HttpOnly", "b=2"])
    user.was_told("stable", ["a=3; Max-Age=60"])
    assert user.fields() == ["X-User: u1", "Cookie: a=3; b=2"]


def test_a_cookie_that_is_taken_back_is_gone() -> None:
    user = Visitor("u1")
    user.was_told("stable", ["a=1"])
    user.was_told("stable", ["a=; max-age=0"])
    assert user.fields() == ["X-User: u1"]


def test_versions_are_kept_in_order_without_repetitions() -> None:
    user = Visitor("u1")
    for version in ("stable", "stable", None, "canary", "canary", "stable"):
        user.was_told(version, [])
    assert user.versions == ["stable", "canary", "stable"]


def test_a_user_is_never_on_the_way_twice() -> None:
    visitors = Visitors(3, random.Random(1))  # noqa: S311 - who comes next is no secret
    away = [visitors.leave() for _ in range(3)]
    assert {user.name for user in away if user} == {"u0", "u1", "u2"}
    assert visitors.leave() is None
    assert away[1] is not None
    visitors.come_back(away[1])
    assert visitors.leave() is away[1]


def test_a_crowd_keeps_nothing_and_has_always_somebody_left() -> None:
    visitors = Visitors(0, random.Random(1))  # noqa: S311 - who comes next is no secret
    crowd = [visitors.leave() for _ in range(100)]
    assert len({user.name for user in crowd if user}) > 90
    assert visitors.versions() == {}
