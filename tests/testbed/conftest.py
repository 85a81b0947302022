from collections.abc import Iterator

import pytest

from testbed.bed import Bed


@pytest.fixture(scope="package")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """One bed for all tests here: starting costs seconds. Whoever breaks a part brings it back."""
    with Bed(tmp_path_factory.mktemp("bed")) as running:
        yield running
