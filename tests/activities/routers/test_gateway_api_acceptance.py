"""What controllers tell about an HTTPRoute, and what is believed of it."""

import re

import pytest

from activities.kubernetes import Json
from activities.routers.gateway_api.acceptance import acceptance

GROUP = "gateway.networking.k8s.io"
UNTOLD: Json = {"metadata": {"generation": 3}, "spec": {"parentRefs": [{"name": "edge"}]}}


def told(parent: Json | None = None, generation: int = 3, **conditions: str) -> Json:
    """What a controller tells of a parent: condition → its status, or `False: reason`."""
    said = {"Accepted": "True", "ResolvedRefs": "True", **conditions}
    written = [
        {"type": kind, "status": status.partition(":")[0], "reason": status.partition(":")[2] or kind,
         "message": "in its words", "observedGeneration": generation}
        for kind, status in said.items() if status
    ]  # fmt: skip
    return {"parentRef": parent or {"name": "edge"}, "controllerName": "x.io/gateway", "conditions": written}


def with_status(*entries: Json, parents: list[Json] | None = None) -> Json:
    spec = {"parentRefs": [{"name": "edge"}] if parents is None else parents}
    return {"metadata": {"generation": 3}, "spec": spec, "status": {"parents": list(entries)}}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (with_status(told()), None),
        (with_status(told(generation=4)), None),
        (with_status(told(PartiallyInvalid="False")), None),
        (UNTOLD, "no controller has accepted it for Gateway edge yet"),
        (with_status(), "no controller has accepted it for Gateway edge yet"),
        (with_status(told(), parents=[]), "it has no parentRefs, so nothing serves it"),
        (with_status(told(generation=2)), "x.io/gateway for Gateway edge: it has seen generation 2, written is 3"),
        (with_status(told(Accepted="")), "it does not tell Accepted"),
        (with_status(told(ResolvedRefs="")), "it does not tell ResolvedRefs"),
        (with_status(told(Accepted="False:NotAllowed")), "not accepted (NotAllowed: in its words)"),
        (with_status(told(Accepted="Unknown:Pending")), "not accepted (Pending: in its words)"),
        (with_status(told(PartiallyInvalid="True:UnsupportedValue")), "accepted only in part (UnsupportedValue"),
        (with_status(told(ResolvedRefs="False:RefNotPermitted")), "references are not resolved (RefNotPermitted"),
        (with_status(told(), told({"name": "gone"}, 1)), None),
        (with_status(told(), told({"name": "edge"}, 1)), "it has seen generation 1"),
        (
            with_status(told(), parents=[{"name": "edge"}, {"name": "inner", "namespace": "mesh"}]),
            "no controller has accepted it for Gateway mesh/inner yet",
        ),
        (
            with_status(
                told({"name": "edge", "sectionName": "https"}), parents=[{"name": "edge", "sectionName": "http"}]
            ),
            "no controller has accepted it for Gateway edge http yet",
        ),
        (
            with_status(told({"group": "", "kind": "Service", "name": "shop", "port": 80}),
                        parents=[{"group": "", "kind": "Service", "name": "shop", "port": 80}]),
            None,
        ),
        (
            with_status(told({"group": GROUP, "kind": "Gateway", "name": "edge", "namespace": "shop"})),
            None,
        ),
        (
            with_status(told({"name": "edge", "namespace": "a"}), parents=[{"name": "edge", "namespace": "b"}]),
            "no controller has accepted it for Gateway b/edge yet",
        ),
    ],
)  # fmt: skip
def test_a_route_is_in_force_when_every_parent_says_so_of_this_generation(found: Json, problem: str | None) -> None:
    said = acceptance(found)
    assert (said.problem is None) is (problem is None), said
    assert (problem or "") in (said.problem or "")
    assert said.dangling is None


def test_a_backend_that_is_not_found_is_told_apart() -> None:
    said = acceptance(with_status(told(ResolvedRefs="False:BackendNotFound")))
    assert said.problem is None
    assert re.fullmatch(
        r"x.io/gateway for Gateway edge: references are not resolved \(BackendNotFound: .*\)", said.dangling or ""
    )
