"""`docker-compose.yml` cannot be run here, so it is held against its schema and against what the test bed runs."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rollout import names
from testbed import envoy, prometheus
from testbed.bed import CANARY, STABLE, Bed
from testbed.parts import COMPOSE, REPOSITORY, binary
from testbed.temporal import DYNAMIC_CONFIG

FILE = REPOSITORY / "docker-compose.yml"
SCHEMA = Path(__file__).parent / "compose-spec" / "compose-spec.json"


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(FILE.read_text())


@pytest.fixture(scope="module")
def services(compose: Any) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def _mounts(services: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What is mounted, by service and place in the container, without options."""
    found = {}
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            found[name, target] = source
    return found


def _validate(compose: Any) -> None:
    # The draft is the schema's own: an older one would not know its keywords and accept nearly everything.
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(compose)


def test_it_is_a_compose_file(compose: Any) -> None:
    _validate(compose)


def test_the_schema_notices_a_misspelt_key(compose: Any) -> None:
    broken = json.loads(json.dumps(compose))
    broken["services"]["envoy"]["volume"] = []
    with pytest.raises(jsonschema.ValidationError, match="volume"):
        _validate(broken)


def test_every_mounted_file_is_there_and_every_volume_is_declared(compose: Any, services: dict[str, Any]) -> None:
    for source in _mounts(services).values():
        if source.startswith("./"):
            assert (REPOSITORY / source).exists(), source
        else:
            assert source in compose["volumes"]


def test_the_parts_read_the_very_files_that_the_test_bed_renders_from(services: dict[str, Any]) -> None:
    mounts = {place: (REPOSITORY / source).resolve() for place, source in _mounts(services).items()}
    assert mounts["envoy", "/etc/envoy/envoy.yaml"] == envoy.TEMPLATE.resolve()
    assert mounts["routes", "/seed"] == envoy.ROUTES.resolve()
    assert mounts["prometheus", "/etc/prometheus/prometheus.yml"] == prometheus.TEMPLATE.resolve()
    assert mounts["prometheus", "/etc/prometheus/rules.yml"] == prometheus.RULES.resolve()


def test_envoy_and_the_worker_share_the_directory_of_the_route_file(services: dict[str, Any]) -> None:
    config = yaml.safe_load(envoy.TEMPLATE.read_text())
    (listener,) = config["static_resources"]["listeners"]
    rds = listener["filter_chains"][0]["filters"][0]["typed_config"]["rds"]
    watched = rds["config_source"]["path_config_source"]["watched_directory"]["path"]
    mounts = _mounts(services)
    settings = tomllib.loads((COMPOSE / "sluice.toml").read_text())
    routes = settings["connections"]["edge"]["routes"]
    assert mounts["envoy", watched] == mounts["worker", routes] == mounts["routes", "/routes"] == "routes"


def test_the_workers_settings_have_the_shape_that_the_test_bed_writes(tmp_path: Path) -> None:
    def shape(node: Any) -> Any:
        return {key: shape(value) for key, value in node.items()} if isinstance(node, dict) else type(node)

    in_compose = tomllib.loads((COMPOSE / "sluice.toml").read_text())
    in_bed = tomllib.loads(Bed(tmp_path).settings_text())
    assert shape(in_compose) == shape(in_bed)
    assert in_compose["people"] == in_bed["people"]


def test_the_names_and_ports_of_services_are_those_that_others_call(services: dict[str, Any]) -> None:
    texts = [file.read_text() for file in (envoy.TEMPLATE, prometheus.TEMPLATE, COMPOSE / "sluice.toml")]
    called = set(re.findall(r"\b(shop-\w+|envoy|prometheus|worker)(?::\d+|, port_value)", "\n".join(texts)))
    assert called == {"shop-stable", "shop-candidate", "envoy", "prometheus", "worker"}
    assert called <= services.keys()
    assert services["worker"]["environment"]["TEMPORAL_ADDRESS"].partition(":")[0] in services


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) >= 5
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:(\d+):\d+", port)] == []


def test_every_image_is_pinned_to_a_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert (REPOSITORY / service["build"]["dockerfile"]).exists()
        else:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_the_server_has_the_search_attributes_and_settings_of_the_test_bed(services: dict[str, Any]) -> None:
    options = services["temporal"]["command"]
    registered = dict(option.split("=")[1:] for option in options if option.startswith("--search-attribute="))
    assert registered == names.SEARCH_ATTRIBUTES
    for key, value in DYNAMIC_CONFIG.items():
        assert f"--dynamic-config-value={key}={value}" in options


def test_whoever_needs_another_waits_for_its_health(services: dict[str, Any]) -> None:
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_healthy" if "healthcheck" in services[needed] else "service_completed_successfully"
            assert how == {"condition": expected}


def test_the_shops_call_themselves_as_the_examples_expect(services: dict[str, Any]) -> None:
    for name, version in (("shop-stable", STABLE), ("shop-candidate", CANARY)):
        command = services[name]["command"]
        assert command[command.index("--version") + 1] == version


def test_the_image_gets_what_it_runs() -> None:
    ignore = (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"*", "!rollout", "!activities", "!workflows", "!starter", "!testbed", "!worker.py"} <= set(ignore)
    assert "--require-hashes" in (COMPOSE / "Dockerfile").read_text()


@pytest.mark.server
def test_envoy_itself_accepts_the_mounted_file_apart_from_its_paths(bed: Bed, tmp_path: Path) -> None:
    """Envoy's YAML is not Python's (no merge keys, for one), so Envoy must have read it."""
    file = tmp_path / "envoy.yaml"
    file.write_text(envoy.TEMPLATE.read_text().replace("/etc/envoy/routes", str(bed.envoy.routes)))
    done = subprocess.run(
        [binary("envoy"), "--mode", "validate", "-c", file], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
