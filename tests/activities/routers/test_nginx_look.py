"""What a running nginx and its host tell, and what that means."""

import pytest

from activities.routers.nginx.host import look_of
from activities.routers.nginx.include import Mark, Shown, shown, strange_draw
from tests.activities.routers.nginx_stand import ROUTE


def test_a_state_as_nginx_tells_it_is_understood() -> None:
    body = b'{"epoch":7,"owner":null,"percent":5.0,"forced":true,"digest":"ab","pool":"checkout-stable","pid":"12"}'
    seen = shown(body)
    assert (seen.pid, seen.pool, seen.mark) == (
        12,
        "checkout-stable",
        Mark(epoch=7, percent=5, forced=True, digest="ab"),
    )


@pytest.mark.parametrize(
    ("percent", "pool", "strange"),
    [
        (0, "checkout-stable", False),
        (0, "checkout-candidate", True),
        (100, "checkout-candidate", False),
        (100, "checkout-stable", True),
        (0.5, "checkout-stable", False),
        (0.5, "checkout-candidate", False),
        (0.5, "other", True),
    ],
)
def test_a_draw_that_the_state_does_not_allow_is_strange(percent: float, pool: str, strange: bool) -> None:
    assert (strange_draw(Shown(percent=percent, pool=pool), ROUTE) is not None) is strange


PS = b"""
  10     1     900 nginx: master process nginx
  11    10      50 nginx: worker process
  12    10      50 nginx: worker process is shutting down
  13    10       0 nginx: worker process
  21    20     900 nginx: worker process
  14    10       0 nginx: worker process
"""


def stat(pid: int, ticks: int) -> bytes:
    return f"{pid} (nginx) S 10 {' '.join(['1'] * 17)} {ticks} 0 0\n".encode()


@pytest.mark.parametrize(
    ("before", "pid", "problem"),
    [
        (b"", 13, None),  # never reloaded by us
        (b"   11 nginx: worker process\nage 1\n", 13, "old workers still accept requests: process 11"),
        (b"   12 nginx: worker process\nage 1\n", 13, None),  # only finishes what it has
        (b"   21 nginx: worker process\nage 1\n", 13, None),  # another nginx's
        (b"   13 nginx: worker process\nage 500\n", 13, None),  # the number of one that is gone
        (b"age 1\n", 99, "nginx's processes cannot be seen, and its reload is too fresh to be believed"),
        (b"age 2\n", 99, None),
    ],
)
def test_old_workers_are_told_from_new_ones(before: bytes, pid: int, problem: str | None) -> None:
    assert look_of(b"text\0" + before + b"\0" + PS + b"\0\0").old(pid) == problem


@pytest.mark.parametrize(
    ("age", "ticks", "problem"),
    [
        (1, 96, None),  # started together
        (1, 89, "old workers still accept requests: process 14"),
        (1, 120, None),  # younger: came in for one that died
        (2, 89, None),  # whoever was old then is gone
    ],
)
def test_workers_of_another_reload_a_moment_before_are_old_as_well(age: int, ticks: int, problem: str | None) -> None:
    before = f"   11 nginx: worker process\nage {age}\n".encode()
    processes = PS.replace(b"  11    10      50 nginx: worker process\n", b"")
    look = look_of(b"text\0" + before + b"\0" + processes + b"\0" + stat(13, 100) + stat(14, ticks) + b"\0")
    assert look.old(13) == problem
