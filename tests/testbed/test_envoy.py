import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import envoy
from testbed.envoy import render, seed_routes


@pytest.fixture
def template() -> Any:
    return yaml.safe_load(envoy.TEMPLATE.read_text())


def _render(template: Any, service: str = "checkout") -> dict[str, Any]:
    return render(
        template,
        service=service,
        admin_port=1,
        listener_port=2,
        stable_port=3,
        candidate_port=4,
        routes=Path("/bed/routes"),
    )


def _values(node: Any) -> list[Any]:
    """Every scalar of a configuration."""
    match node:
        case dict():
            return [value for child in node.values() for value in _values(child)]
        case list():
            return [value for child in node for value in _values(child)]
        case _:
            return [node]


def test_only_addresses_ports_and_paths_differ_from_what_docker_compose_mounts(template: Any) -> None:
    before, after = _values(template), _values(_render(template))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - what the container listens on
        (9901, 1),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - what the container listens on
        (8080, 2),
        ("/etc/envoy/routes/checkout.json", "/bed/routes/checkout.json"),
        ("/etc/envoy/routes", "/bed/routes"),
        ("shop-stable", "127.0.0.1"),
        (8000, 3),
        ("shop-candidate", "127.0.0.1"),
        (8000, 4),
    ]


def test_rendering_leaves_the_template_alone(template: Any) -> None:
    before = copy.deepcopy(template)
    _render(template)
    assert template == before


def test_another_service_has_routes_and_pools_of_its_own_name(template: Any) -> None:
    config = json.dumps(_render(template, "search"))
    assert "checkout" not in config
    for name in ("search-stable", "search-candidate", "/bed/routes/search.json"):
        assert name in config


def test_no_retries_are_configured_so_that_drops_are_seen() -> None:
    for file in (envoy.TEMPLATE, *envoy.ROUTES.glob("*.json")):
        assert "retry_policy" not in file.read_text()


def test_the_seed_sends_everything_to_stable_and_never_replaces_weights(tmp_path: Path) -> None:
    file = seed_routes(tmp_path / "routes", "search")
    (configuration,) = json.loads(file.read_text())["resources"]
    assert configuration["name"] == "search"
    (host,) = configuration["virtual_hosts"]
    assert host["domains"] == ["*"]
    assert host["routes"] == [{"match": {"prefix": "/"}, "route": {"cluster": "search-stable"}}]
    file.write_text("weights of a rollout")
    assert seed_routes(tmp_path / "routes", "search").read_text() == "weights of a rollout"
