import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import prometheus
from testbed.prometheus import render


@pytest.fixture
def template() -> Any:
    return yaml.safe_load(prometheus.TEMPLATE.read_text())


def test_only_targets_and_paths_differ_from_what_docker_compose_mounts(template: Any) -> None:
    before = copy.deepcopy(template)
    targets = {job["job_name"]: ["127.0.0.1:1"] for job in template["scrape_configs"]}
    config = render(template, targets=targets, rules=Path("/bed/rules.yml"))
    assert config["rule_files"] == ["/bed/rules.yml"]
    assert template == before
    for job in config["scrape_configs"]:
        assert job.pop("static_configs") == [{"targets": ["127.0.0.1:1"]}]
    for job in before["scrape_configs"]:
        del job["static_configs"]
    assert config["scrape_configs"] == before["scrape_configs"]
    assert config["global"] == before["global"] == dict.fromkeys(before["global"], "1s")


def test_jobs_without_targets_are_left_out(template: Any) -> None:
    config = render(template, targets={"shop": ["127.0.0.1:1", "127.0.0.1:2"]}, rules=Path("/rules.yml"))
    assert [job["job_name"] for job in config["scrape_configs"]] == ["shop"]


def test_a_job_that_nobody_configured_is_refused(template: Any) -> None:
    with pytest.raises(KeyError, match="shops"):
        render(template, targets={"shops": []}, rules=Path("/rules.yml"))


def test_the_rule_is_the_articles_word_for_word() -> None:
    (group,) = yaml.safe_load(prometheus.RULES.read_text())["groups"]
    (rule,) = group["rules"]
    assert " ".join(rule.pop("expr").split()) == (
        'sum(rate(http_requests_total{version="canary",status=~"5.."}[5m])) '
        '/ sum(rate(http_requests_total{version="canary"}[5m])) > 0.05'
    )
    assert rule == {
        "alert": "CanaryHighErrorRate",
        "for": "2m",
        "labels": {"severity": "critical"},
        "annotations": {"action": "auto_rollback"},
    }
