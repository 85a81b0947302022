from collections.abc import Iterator

import pytest

from testbed.programs import Shop


@pytest.fixture(scope="package")
def shop_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Shop]]:
    directory = tmp_path_factory.mktemp("kubernetes-shops")
    with Shop(directory, version="stable") as stable, Shop(directory, version="canary") as canary:
        yield {"stable": stable, "canary": canary}


@pytest.fixture
def shops(shop_parts: dict[str, Shop]) -> dict[str, str]:
    """Service, and version of a pod → where its shop is."""
    places = {version: f"127.0.0.1:{shop.port}" for version, shop in shop_parts.items()}
    return places | {f"shop-{version}": place for version, place in places.items()}
