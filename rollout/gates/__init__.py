"""Gates: questions to health data, as the user writes them. A closed union on `kind`.

A gate says what to ask and what answer is bad; how evidence is judged lives in `rollout/judge/`, who is asked in
`activities/asking.py` and `activities/metrics/`. There is no address here: `connection` is a name in the worker's
settings. One file a family: they share what is asked, not who answers.
"""

from typing import Annotated

from pydantic import Tag

from rollout.base import by_kind
from rollout.gates.alert import AlertGate
from rollout.gates.base import AnyGate, OnBreach
from rollout.gates.ceiling import CeilingGate
from rollout.gates.counting import CountingGate, ErrorRatioGate, LatencyGate, ProportionGate, Versions
from rollout.gates.kayenta import KayentaGate
from rollout.gates.pods import by_pods, with_sides
from rollout.gates.probe import ProbeGate
from rollout.gates.threshold import ThresholdGate
from rollout.gates.web import WebGate

__all__ = [
    "AlertGate",
    "AnyGate",
    "CeilingGate",
    "CountingGate",
    "ErrorRatioGate",
    "Gate",
    "KayentaGate",
    "LatencyGate",
    "OnBreach",
    "ProbeGate",
    "ProportionGate",
    "ThresholdGate",
    "Versions",
    "WebGate",
    "by_pods",
    "with_sides",
]


Gate = Annotated[
    Annotated[ThresholdGate, Tag("threshold")]
    | Annotated[ErrorRatioGate, Tag("error-ratio")]
    | Annotated[LatencyGate, Tag("latency")]
    | Annotated[ProportionGate, Tag("proportion")]
    | Annotated[CeilingGate, Tag("ceiling")]
    | Annotated[AlertGate, Tag("alert")]
    | Annotated[ProbeGate, Tag("probe")]
    | Annotated[WebGate, Tag("web")]
    | Annotated[KayentaGate, Tag("kayenta")],
    # What has no kind is a threshold, as in an alerting rule.
    by_kind(
        *("threshold", "error-ratio", "latency", "proportion", "ceiling", "alert", "probe", "web", "kayenta"),
        default="threshold",
    ),
]
"""Every kind of gate."""
