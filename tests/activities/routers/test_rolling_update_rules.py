"""The rules of a Deployment's rolling update, without a cluster: what is written, and what is seen."""

import copy
import json
from typing import Any

import pytest

from activities.kubernetes import ANNOTATION, mark_of
from activities.ports import Write
from activities.routers.rolling_update import deployment
from activities.routers.rolling_update.pods import selector_of, unix, worst
from activities.routers.rolling_update.reading import reading
from activities.routers.rolling_update.recording import recorded
from activities.routers.rolling_update.workload import STANDSTILL_S, Seen, standstill
from activities.routers.rolling_update.writing import desired
from rollout.errors import Drifted, Misconfigured, NotReady
from rollout.routes import RollingUpdateRoute
from testbed.kubernetes.api import Object
from tests.activities.routers.contract import OWNER
from tests.activities.routers.rolling_stand import (
    NEW,
    OLD,
    THIRD,
)

ROUTE = RollingUpdateRoute(connection="prod-eu", namespace="shop", deployment="checkout", image=NEW)
GO, BACK = Write(percent=100, epoch=1, owner=OWNER), Write(percent=0, epoch=2, owner=OWNER, release=True)


def template(*images: str) -> Object:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images or (OLD,))]
    return {"metadata": {"creationTimestamp": None, "labels": {"app": "checkout"}}, "spec": {"containers": containers}}


def found(pods: Object | None = None, status: dict[str, Any] | None = None, **spec: Any) -> Object:
    """A Deployment of six as the API server tells it."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 6)
    return {
        "metadata": {"name": "checkout", "uid": "u", "resourceVersion": "7", "generation": 3},
        "spec": {"replicas": 6, "template": pods or template(), **spec},
        "status": {"observedGeneration": 3, **counts, **(status or {})},
    }


def patched(there: Object, patch: list[Object] | None) -> Object:
    """What the operations that the adapter uses make of an object."""
    made = copy.deepcopy(there)
    for each in patch or []:
        *way, last = (step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:])
        place: Any = made
        for step in way:
            place = place[int(step) if isinstance(place, list) else step]
        place[int(last) if isinstance(place, list) else last] = each.get("value")
    return made


def replica_set(pods: Object, label: str, count: int, available: int | None = None) -> Object:
    labelled = copy.deepcopy(pods)
    labelled["metadata"]["labels"]["pod-template-hash"] = label
    return {
        "metadata": {"name": f"checkout-{label}", "generation": 1, "labels": {"pod-template-hash": label}},
        "spec": {"replicas": count, "template": labelled},
        "status": {
            "observedGeneration": 1,
            "replicas": count,
            "availableReplicas": count if available is None else available,
        },
    }


class TestWhatIsWritten:
    def test_one_image_and_the_mark_guarded_by_what_was_read(self) -> None:
        patch = desired(found(), ROUTE, GO, at=12.5, revision="abc")
        assert patch is not None
        assert patch[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
        assert patch[2] == {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": NEW}
        assert json.loads(patch[1]["value"][ANNOTATION]) == {
            "epoch": 1,
            "owner": OWNER,
            "percent": 100,
            "at": 12.5,
            "more": {"template": template(), "revision": "abc"},
        }
        assert len(patch) == 3

    def test_the_way_back_is_the_whole_template_and_no_pause(self) -> None:
        there = patched(found(), desired(found(), ROUTE, Write(**{**dict(GO), "pause": True}), at=1, revision="abc"))
        assert there["spec"]["paused"] is True
        there["spec"]["template"] = template(THIRD)  # whatever is found there
        patch = desired(there, ROUTE, BACK, at=2)
        assert patch is not None
        assert patch[2:] == [
            {"op": "replace", "path": "/spec/template", "value": template()},
            {"op": "add", "path": "/spec/paused", "value": False},
        ]

    def test_the_same_write_again_is_none_and_one_over_somebody_elses_change_is_drift(self) -> None:
        there = patched(found(), desired(found(), ROUTE, GO, at=1))
        assert desired(there, ROUTE, GO, at=9) is None
        there["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
        with pytest.raises(Drifted, match="since this write was made"):
            desired(there, ROUTE, GO, at=9)
        again = desired(there, ROUTE, Write(percent=100, epoch=2, owner=OWNER), at=9)
        assert again is not None
        assert again[-1]["value"]["spec"]["containers"] == [{"name": "c0", "image": NEW}]

    def test_released_marks_lead_back_only_for_the_write_that_released_them(self) -> None:
        there = patched(found(), desired(found(), ROUTE, GO, at=1))
        back = patched(there, desired(there, ROUTE, BACK, at=2))
        assert desired(back, ROUTE, BACK, at=3) is None
        back["spec"]["template"] = template(NEW)  # a GitOps tool puts it back
        assert reading(back, ROUTE).percent == 100
        assert "put the candidate's image back" in str(reading(back, ROUTE).drift)
        again = desired(back, ROUTE, BACK, at=3)
        assert again is not None
        assert again[-1] == {"op": "replace", "path": "/spec/template", "value": template()}
        later = BACK.model_copy(update={"epoch": 9})
        with pytest.raises(Misconfigured, match="kubectl rollout undo deployment/checkout -n shop --to-revision"):
            desired(back, ROUTE, later, at=3)

    def test_a_rollout_that_was_finalizing_can_still_go_back_and_on_and_the_next_one_begins_anew(self) -> None:
        there = patched(found(), desired(found(), ROUTE, GO, at=1, revision="abc"))
        final = Write(percent=100, epoch=5, owner=OWNER, release=True)
        released = patched(there, desired(there, ROUTE, final, at=2))
        assert mark_of(released).owner is None
        assert desired(released, ROUTE, final, at=3) is None
        back = patched(released, desired(released, ROUTE, BACK.model_copy(update={"epoch": 6}), at=3))
        assert back["spec"]["template"] == template()
        on = patched(released, desired(released, ROUTE, GO.model_copy(update={"epoch": 6}), at=3))
        assert (mark_of(on).owner, on["spec"]["template"]) == (OWNER, released["spec"]["template"])
        later = ROUTE.model_copy(update={"image": THIRD})
        third = patched(released, desired(released, later, GO.model_copy(update={"epoch": 9}), at=9, revision="def"))
        assert recorded(mark_of(third)).template == template(NEW)

    def test_the_container_is_named_or_the_only_one(self) -> None:
        there = found(template("sidecar:1", OLD))
        with pytest.raises(Misconfigured, match=r"names no `container` of several; there are: c0, c1"):
            reading(there, ROUTE)
        named = ROUTE.model_copy(update={"container": "c1"})
        patch = desired(there, named, GO, at=1)
        assert patch is not None
        assert patch[-1]["path"] == "/spec/template/spec/containers/1/image"

    @pytest.mark.parametrize(
        ("there", "error", "words"),
        [
            (found(strategy={"type": "Recreate"}), Misconfigured, "downtime"),
            (found(paused=True), Misconfigured, "kubectl rollout resume"),
            (found(status={"updatedReplicas": 2}), NotReady, "under way already"),
            (found(status={"observedGeneration": 2}), NotReady, "under way already"),
            (found(template(NEW)), Misconfigured, "nothing to roll out"),
        ],
    )
    def test_no_roll_begins_where_it_cannot(self, there: Object, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            desired(there, ROUTE, GO, at=1)

    def test_an_unready_stable_is_no_reason_not_to_deploy_the_fix(self) -> None:
        assert desired(found(status={"availableReplicas": 0, "readyReplicas": 0}), ROUTE, GO, at=1)

    def test_a_template_too_big_for_an_annotation_is_refused_in_words(self) -> None:
        big = template()
        big["spec"]["containers"][0]["env"] = [{"name": "BLOB", "value": "ä" * 130_000}]
        with pytest.raises(Misconfigured, match="254 KiB, Kubernetes takes 256; move what is big to a ConfigMap"):
            desired(found(big), ROUTE, GO, at=1)

    def test_the_way_back_is_not_kept_off_by_annotations_that_others_have_added(self) -> None:
        padded = template()
        padded["metadata"]["labels"]["pad"] = "y" * 4096
        there = patched(found(padded), desired(found(padded), ROUTE, GO, at=1, revision="abc"))
        there["metadata"]["annotations"]["acme.dev/notes"] = "x" * (252 * 1024)
        with pytest.raises(Misconfigured, match="too big"):
            desired(there, ROUTE, Write(percent=100, epoch=2, owner=OWNER), at=2)
        patch = desired(there, ROUTE, BACK, at=2)
        assert patch is not None
        assert patch[-1] == {"op": "replace", "path": "/spec/template", "value": padded}
        assert json.loads(patch[1]["value"])["more"] == {"revision": "abc"}

    def test_an_image_that_was_pinned_by_a_policy_is_the_same_image(self) -> None:
        there = patched(found(), desired(found(), ROUTE, GO, at=1))
        there["spec"]["template"]["spec"]["containers"][0]["image"] = f"{NEW}@sha256:{'0' * 64}"
        assert (reading(there, ROUTE).percent, reading(there, ROUTE).drift) == (100, None)
        assert desired(there, ROUTE, GO, at=1) is None


class TestWhatIsSeen:
    def roll(self, new: int, old: int, status: dict[str, Any] | None = None, **spec: Any) -> Seen:
        counts = {"replicas": new + old, "updatedReplicas": new, "availableReplicas": new + old, **(status or {})}
        rule = {"strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}, "progressDeadlineSeconds": 600}
        there = found(template(NEW), counts, **{**rule, **spec})
        return Seen(there, [replica_set(template(), "old", old), replica_set(template(NEW), "new", new)], [])

    def arrived(self, look: Seen, *, rising: bool = True) -> bool:
        return deployment.progress(look, rising=rising, since=0, now=0).arrived

    def test_done_is_kubectls_rule_and_no_pod_of_another_set(self) -> None:
        assert self.arrived(self.roll(6, 0))
        assert not self.arrived(self.roll(6, 2))
        assert not self.arrived(self.roll(5, 0))
        assert not self.arrived(self.roll(6, 0, {"availableReplicas": 5}))
        assert not self.arrived(self.roll(6, 0, {"observedGeneration": 2}))
        assert not self.arrived(self.roll(6, 0, {"updatedReplicas": None}, paused=True))
        about_to_make = self.roll(6, 0)
        about_to_make.sets[0]["spec"]["replicas"] = 1  # its status does not know it yet
        assert not self.arrived(about_to_make)
        not_seen = self.roll(6, 0)
        not_seen.sets[0]["metadata"]["generation"] = 2
        assert not self.arrived(not_seen)

    def test_the_way_back_waits_for_no_pod_that_was_unready_before(self) -> None:
        assert self.arrived(self.roll(6, 0, {"availableReplicas": 5}), rising=False)
        assert not self.arrived(self.roll(6, 1, {"availableReplicas": 6}), rising=False)
        assert not self.arrived(self.roll(6, 0, {"availableReplicas": 0}), rising=False)

    def test_on_its_way_is_told_in_pods(self) -> None:
        told = deployment.progress(self.roll(3, 2), rising=True, since=0, now=0)
        assert told == (
            False,
            "3 of 6 pods are new and available, 2 of the old remain (maxSurge 2, maxUnavailable 1)",
            None,
        )

    def test_the_deadline_is_believed_only_of_the_present_template_and_not_while_paused(self) -> None:
        late = {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}

        def failed(look: Seen, now: float = 0) -> str | None:
            return deployment.progress(look, rising=True, since=0, now=now).failed

        assert failed(self.roll(3, 5, late)) == "timed out"
        assert failed(self.roll(3, 5, {**late, "observedGeneration": 2})) is None
        assert failed(self.roll(3, 5, late, paused=True)) is None
        assert failed(self.roll(3, 5)) is None
        assert deployment.progress(self.roll(3, 5, late), rising=False, since=0, now=0).failed is None

    def test_a_deadline_that_was_over_before_the_write_is_another_templates(self) -> None:
        told = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": "1970-01-01T00:10:00Z"}
        look = self.roll(3, 5, {"conditions": [told]})
        before, after = (deployment.progress(look, rising=True, since=since, now=0).failed for since in (599, 601))
        assert (before, after) == ("its progress deadline is exceeded", None)

    def test_without_any_deadline_our_own_clock_ends_it(self) -> None:
        look = self.roll(3, 5, progressDeadlineSeconds=2**31 - 1)
        labels = {"pod-template-hash": "new"}
        look = look._replace(pods=[{"metadata": {"name": "checkout-new-1", "labels": labels}, "status": {}}])
        early, late = (
            deployment.progress(look, rising=True, since=1000, now=1000 + STANDSTILL_S + more).failed
            for more in (-1, 1)
        )
        assert early is None
        assert late == "no new pod has become ready for 601 s; pod checkout-new-1: not ready"

    def test_of_several_troubles_the_one_that_says_most_is_told(self) -> None:
        def pod(name: str, **status: Any) -> Object:
            return {"metadata": {"name": name}, "status": status}

        waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "shop:2.0"'}
        every = [
            pod("a", conditions=[{"type": "Ready", "status": "False", "message": "containers with unready status"}]),
            pod("b", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
            pod("c", containerStatuses=[{"name": "app", "state": {"waiting": waiting}}]),
            pod("d", containerStatuses=[{"name": "app", "state": {"terminated": {"exitCode": 137}}}]),
            pod("e", phase="Failed", reason="Evicted", message="the node had too little memory"),
            pod("f", conditions=[{"type": "Ready", "status": "True"}]),
            pod("g", containerStatuses=[{"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}]),
        ]
        order = [worst(every[at:]) for at in range(len(every))]
        assert worst(every) == 'pod c: ImagePullBackOff: Back-off pulling image "shop:2.0"'
        assert worst([every[0], every[1]]) == "pod b: Unschedulable"
        assert worst([every[3], every[4]]) == "pod d: container app ended with exit code 137"
        assert worst([every[4]]) == "pod e: Evicted: the node had too little memory"
        assert worst([every[0]]) == "pod a: not ready: containers with unready status"
        assert order[-1] == "pod g: not ready"
        assert worst([every[5]]) is None

    def test_selectors_of_every_kind_become_a_query(self) -> None:
        expressions = [
            {"key": "tier", "operator": "In", "values": ["web", "edge"]},
            {"key": "zone", "operator": "NotIn", "values": ["x"]},
            {"key": "app", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist"},
        ]
        there = found(selector={"matchLabels": {"app": "checkout"}, "matchExpressions": expressions})
        assert selector_of(there) == "app=checkout,tier in (web,edge),zone notin (x),app,!old"


def test_a_pod_that_stops_being_ready_late_is_no_roll_that_stands_still() -> None:
    def pod(ready: str, at: str) -> Object:
        return {
            "metadata": {"name": "web-0", "creationTimestamp": "2026-11-29T08:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at}]},
        }

    now = unix("2026-11-29T09:00:00Z")
    fine, fell = pod("True", "2026-11-29T08:01:00Z"), pod("False", "2026-11-29T08:59:30Z")
    assert standstill([fine, fell], now - 3600, now) is None
    assert standstill([fine, pod("False", "2026-11-29T08:00:10Z")], now - 3600, now) is not None
