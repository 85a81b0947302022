"""The test bed's client of the API server, one for each thread.

Stories look at the cluster from many threads at once, and one client for all of them now and then reads from a socket
that another thread has just closed ("Bad file descriptor").
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.kubernetes import Api, ControlPlane


class Clients:
    """The administrator's clients."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._plane, self._local = control_plane, threading.local()
        self._made: list[Api] = []

    @property
    def mine(self) -> Api:
        """That of the calling thread."""
        if not hasattr(self._local, "api"):
            self._local.api = self._plane.client(self._plane.admin_token)
            self._made.append(self._local.api)
        found: Api = self._local.api
        return found

    def close(self) -> None:
        """Close all of them."""
        for each in self._made:
            each.close()
