"""What the peers needed, measured once and quoted here; nothing of it is measured by this benchmark."""

from typing import NamedTuple

SENTENCE = (
    "Argo Rollouts 1.9.1 and Flagger 1.44.0: measured on the same kind of control plane (kube-apiserver, kwok pods, "
    "Prometheus with a 1 s scrape, ingress-nginx annotations, the same gauge), but not in this run."
)


class Peers(NamedTuple):
    """One case of both; min / mean or median / max where there are three numbers."""

    argo: str = "–"
    flagger: str = "–"


BREACH = Peers(
    "docs example 950 / 1033 / 1146 s (4); interval 10 s: 3.3 / 7.6 / 13.5 s (10)",
    "defaults 62 / 92 / 117 s (6); nginx tutorial 106 / 111 / 114 s (5)",
)
BREACH_FASTEST = Peers("interval 1 s: 1.5 / 2.4 / 3.1 s (10)", "interval 10 s, its floor: 14.0 / 16.0 / 19.4 s (10)")
UNREADY = Peers("weight stays > 45 s", "weight stays > 60 s")
UNREADY_WRITES = Peers("811 writes of the canary Service in 45 s", "–")
RESTART = Peers("30 s dwell: +4.5 s, or +16 to +18 s", "18.5 to 19.1 s instead of 30 s (9)")
KILLED = Peers("aborts the healthy canary after 47.5 s", "rolls it back after 14.7 s (threshold 1), 54.6 s (5)")
HUNG = Peers("aborts the healthy canary after 197.9 s", "rolls it back after 17.0 s (threshold 1), 57.1 s (5)")
EDITED = Peers("put back in 16 to 22 ms (5)", "adopted: 5 → 40, then 45, 50; or 100 % after 7.1 s")
DELETED = Peers("not noticed within 30 s", "not tested")
STARTS = Peers("34 / 92 / 111 s", "45 / 77 / 94 s")
BREACHES = Peers("3.3 / 37.5 / 51.8 s (200)", "25 / 32 / 44 s (99)")
CPU = Peers("controller 20.6 %", "controller 7.7 %")
RSS = Peers("controller 146 MiB", "controller 86 MiB")
REQUESTS = Peers("55/s", "119/s")
