"""Kubernetes on a bare machine: a real control plane with played pods, and a proxy that carries real traffic.

`ControlPlane` is the API server with its controllers, `Api` a client for tests, `objects` builds manifests, and `Plane`
is what stands for an ingress controller, a gateway, a mesh or kube-proxy.
"""

from testbed.kubernetes import objects
from testbed.kubernetes.api import Api, ApiRefused
from testbed.kubernetes.control_plane import ControlPlane
from testbed.kubernetes.objects import wait_available
from testbed.kubernetes.plane import Plane

__all__ = ["Api", "ApiRefused", "ControlPlane", "Plane", "objects", "wait_available"]
