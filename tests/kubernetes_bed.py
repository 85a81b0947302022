"""The Kubernetes of the tests: one control plane a session, one namespace a test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from testbed.parts import PartMissing, binary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.kubernetes import ControlPlane


def control_plane_or_skip() -> None:
    """Skip the test where the programs were never built; in CI they must be there."""
    try:
        binary("kube-apiserver")
    except PartMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"nothing of Kubernetes is tested here: {missing}")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Started by the first test that asks for it. Whoever breaks a part of it brings it back."""
    from testbed.kubernetes import ControlPlane  # noqa: PLC0415 - every run loads this file, few start one

    control_plane_or_skip()
    with ControlPlane(tmp_path_factory.mktemp("kubernetes")) as running:
        yield running
        running.check()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace; it goes in the background afterwards, with all that is in it."""
    control_plane.check()
    name = control_plane.namespace()
    yield name
    control_plane.check()
    control_plane.api.delete("Namespace", name)
