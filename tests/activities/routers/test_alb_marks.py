"""What a load balancer's tags remember: the mark of every write, and stickiness as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.routers.alb import marks, views
from activities.routers.alb.marks import Mark
from tests.activities.routers.alb_rules import BLUE, GREEN, PERCENTS, ROUTE, Json, default_rule, forward, site_of

MARKS = st.builds(
    Mark,
    epoch=st.integers(1, 2**53),
    percent=PERCENTS,
    header=st.booleans(),
    at=st.integers(0, 2**41).map(lambda ms: ms / 1000),
    owner=st.text(min_size=1, max_size=60) | st.none(),
    done=st.booleans(),
)


@given(MARKS)
def test_a_mark_comes_back_from_its_tag_and_aws_takes_it(mark: Mark) -> None:
    tag = mark.tag()
    assert marks.marks({tag["Key"]: tag["Value"]}) == [mark]
    assert len(tag["Key"]) <= 128
    assert all(char.isascii() and (char.isalnum() or char in " _.:/=+-@") for char in tag["Key"] + tag["Value"])


def test_the_longest_workflow_id_fits_into_a_tag() -> None:
    owner = f"rollout:{'e' * 63}/{'s' * 63}"
    mark = Mark(epoch=2**53, percent=33.33, header=True, at=1795390309.806, owner=owner)
    assert len(mark.tag()["Value"]) <= 256


@pytest.mark.parametrize("value", ["", "mine", "written percent=1.2.3 header=no at=1 owner=", "written percent=0.01 x"])
def test_a_mark_that_somebody_edited_is_still_a_fence(value: str) -> None:
    [mark] = marks.marks({"sluice:epoch-9": value, "Name": "shop", "sluice:epoch-x": "no"})
    assert (mark.epoch, mark.done) == (9, False)


@pytest.mark.parametrize("sticky", [{}, {"Enabled": False}, {"Enabled": True, "DurationSeconds": 60}])
def test_stickiness_is_remembered_as_it_was(sticky: Json) -> None:
    tag = marks.before(sticky)
    assert marks.sticky_before({tag["Key"]: tag["Value"]}) == sticky


@pytest.mark.parametrize(
    ("owner", "now", "remembered"),
    [
        (None, {"Enabled": True, "DurationSeconds": 60}, {"Enabled": True, "DurationSeconds": 60}),
        (None, {"Enabled": False}, {"Enabled": True, "DurationSeconds": 3600}),
        ("me", {"Enabled": True, "DurationSeconds": 60}, {"Enabled": True, "DurationSeconds": 3600}),
    ],
)
def test_stickiness_that_was_changed_between_rollouts_is_what_was_before(
    owner: str | None, now: Json, remembered: Json
) -> None:
    mark = Mark(epoch=3, percent=0, owner=owner, at=1)
    tags = {mark.key: mark.tag()["Value"], "sluice:sticky-before": "on 3600"}
    assert site_of(default_rule(forward({BLUE: 1}, **now)), tags).sticky_before == remembered


def test_a_write_that_did_not_end_is_noticed() -> None:
    tags = [Mark(epoch=6, percent=5, owner="me").tag(), Mark(epoch=7, percent=25, owner="me", done=False).tag()]
    site = site_of(default_rule(forward({BLUE: 19, GREEN: 1})), {tag["Key"]: tag["Value"] for tag in tags})
    assert views.wrong(site, ROUTE) == "the write of epoch 7 (25 %) began and did not end"
    assert site.done.epoch == 6
