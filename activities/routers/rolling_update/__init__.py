"""A workload's own rolling update: a Deployment between 0 and 100 %, a StatefulSet pod by pod.

Sluice changes one image and watches; Kubernetes replaces the pods. The template that is found before the first write is
kept whole in the mark and is the way back: "the revision before" may be somebody else's hotfix, or gone.

Every write is one JSON patch with the mark in it, guarded by the resourceVersion that was read; so the position of the
container in it cannot have moved. A strategic merge patch would do the same, with a second way to write beside the one
that pause, partition and the way back need.
"""

from activities.routers.rolling_update.router import RollingUpdateRouter

__all__ = ["RollingUpdateRouter"]
