"""A real Prometheus on loopback, rendered from the configuration that docker-compose mounts.

Why rendered and not written here: see `testbed.envoy`. Jobs that the caller names no targets for are left out, because
a target that is never there would look like an outage to every query about `up`.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from testbed.part import Part, answers
from testbed.parts import COMPOSE, binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TEMPLATE = COMPOSE / "prometheus.yml"
RULES = COMPOSE / "rules.yml"
QUERY_TIMEOUT_S = 5.0


def render(
    template: Any,  # noqa: ANN401 - decoded YAML
    *,
    targets: Mapping[str, Sequence[str]],
    rules: Path,
) -> dict[str, Any]:
    """Turn the configuration of docker-compose into one for loopback.

    Args:
        template: The decoded `deploy/compose/prometheus.yml`; left unchanged.
        targets: host:port to scrape, by name of the template's job.
        rules: The rules file to load instead of the mounted one.

    Returns:
        A new configuration with the named jobs only.

    Raises:
        KeyError: When a named job is not in the template.
    """
    config: dict[str, Any] = json.loads(json.dumps(template))
    config["rule_files"] = [str(rules)]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [jobs[name] for name in targets]
    for name, addresses in targets.items():
        jobs[name]["static_configs"] = [{"targets": list(addresses)}]
    return config


class Prometheus(Part):
    """One Prometheus with an empty database at its first start; restarts keep the data.

    Attributes:
        url: Its address, without a slash at the end.
    """

    def __init__(self, directory: Path, *, targets: Mapping[str, Sequence[str]], rules: Path = RULES) -> None:
        """Choose its port; nothing is started.

        Args:
            directory: Where the database, the configuration and the log go.
            targets: host:port to scrape, by job: `shop`, `envoy`, `worker`.
            rules: The rules file, the article's by default.
        """
        super().__init__("prometheus", directory)
        self._targets = targets
        self._rules = rules
        self._address = f"{LOOPBACK}:{free_ports(1)[0]}"
        self.url = f"http://{self._address}"
        self._data = self.directory / "prometheus-data"
        self._fresh = True

    def prepare(self) -> None:
        """Forget an earlier run's data once, and write the configuration."""
        if self._fresh:
            shutil.rmtree(self._data, ignore_errors=True)
            self._fresh = False
        template = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
        config = render(template, targets=self._targets, rules=self._rules.absolute())
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def command(self) -> list[str | Path]:
        """Prometheus's command line."""
        return [
            binary("prometheus"),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._data}",
            f"--web.listen-address={self._address}",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        """Whether it answers queries."""
        return answers(f"{self.url}/-/ready")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Ask an instant query, for tests and for waiting; the product has its own client.

        Args:
            expression: PromQL with a vector as its result.

        Returns:
            Labels and value of each series; NaN where Prometheus says NaN.

        Raises:
            httpx.HTTPError: When it does not answer, or refuses the expression.
        """
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=QUERY_TIMEOUT_S, trust_env=False
        )
        answer.raise_for_status()
        return [(series["metric"], float(series["value"][1])) for series in answer.json()["data"]["result"]]
