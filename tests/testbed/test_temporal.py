import socket
from pathlib import Path

import httpx
import pytest

from rollout import names
from testbed.processes import PartFailed
from testbed.temporal import TemporalServer


def _attributes(server: TemporalServer) -> dict[str, str]:
    lines = (line.split() for line in server.ask("operator", "search-attribute", "list").stdout.splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0].startswith("Rollout")}


@pytest.mark.server
def test_a_killed_server_comes_back_with_its_port_its_histories_and_its_search_attributes(tmp_path: Path) -> None:
    with TemporalServer(tmp_path) as server:
        assert _attributes(server) == names.SEARCH_ATTRIBUTES
        start = ("workflow", "start", "--type", "Rollout", "--task-queue", "nobody", "--workflow-id", "kept")
        assert server.ask(*start).returncode == 0
        address = server.address
        server.kill()
        server.start()
        assert server.address == address
        assert server.ask("workflow", "describe", "--workflow-id", "kept").returncode == 0
        assert server.ask("workflow", "describe", "--workflow-id", "never-started").returncode == 1
        assert server.ui_url is not None
        assert httpx.get(server.ui_url, trust_env=False).status_code == 200


@pytest.mark.server
def test_a_database_older_than_a_search_attribute_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "SEARCH_ATTRIBUTES", {"RolloutService": "Keyword"})
    with TemporalServer(tmp_path, ui=False) as server:
        assert _attributes(server) == {"RolloutService": "Keyword"}
        monkeypatch.undo()
        server.restart()
        assert _attributes(server) == names.SEARCH_ATTRIBUTES


@pytest.mark.server
def test_in_memory_there_is_no_database_and_no_page_unless_asked(tmp_path: Path) -> None:
    with TemporalServer(tmp_path, in_memory=True, ui=False) as server:
        assert server.ui_url is None
        assert not (tmp_path / "temporal.db").exists()


@pytest.mark.server
def test_a_taken_port_ends_with_the_servers_own_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = TemporalServer(tmp_path, in_memory=True, ui=False, port=taken.getsockname()[1])
        with pytest.raises(PartFailed, match=r"(?s)temporal ended with exit code 1.*address already in use"):
            server.start()
        assert not server.running


def test_the_users_own_temporal_settings_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "of the user's cloud")
    assert TemporalServer(tmp_path).environment()["TEMPORAL_API_KEY"] is None
