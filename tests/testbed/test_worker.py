from pathlib import Path

import pytest

from testbed.worker import Worker


def test_a_worker_gets_its_own_settings_and_none_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TASK_QUEUE", "the user's")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "the user's")
    settings = tmp_path / "sluice.toml"
    env = Worker(tmp_path, settings=settings, address="127.0.0.1:7233", env={"EXTRA": "1"}).environment()
    assert env["SLUICE_TASK_QUEUE"] is None
    assert env["TEMPORAL_NAMESPACE"] is None
    assert env["SLUICE_CONFIG"] == str(settings)
    assert env["TEMPORAL_ADDRESS"] == "127.0.0.1:7233"
    assert env["EXTRA"] == "1"


def test_two_workers_have_different_ports_for_their_metrics(tmp_path: Path) -> None:
    one, two = (Worker(tmp_path, settings=tmp_path / "x", address="a:1", name=name) for name in ("one", "two"))
    assert one.metrics_url != two.metrics_url
    assert one.log != two.log
