"""What every test run needs: an exit code that can be trusted, and fixtures that all of them may ask for."""

import os
import sys

import pytest

pytest_plugins = ["tests.kubernetes_bed"]

_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave at once: threads of the Temporal SDK may touch Python while it finalizes and die of SIGABRT.

    Seen about once in twenty runs, after every test had passed and every fixture had been torn down.
    """
    if "temporalio.bridge.temporal_sdk_bridge" in sys.modules and _STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])
