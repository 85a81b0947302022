"""The real Unleash and its database can be started by anybody, killed and brought back, and never outlive us."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.flags import postgresql
from testbed.flags.postgresql import Postgresql
from testbed.flags.unleash import Unleash, gradual
from testbed.parts import REPOSITORY, PartMissing, binary
from testbed.processes import LOOPBACK, PartFailed, wait_until

PARENT = """
import sys, time, pathlib
from testbed.flags import postgresql
from testbed.flags.postgresql import Postgresql
print(Postgresql(pathlib.Path(sys.argv[1])).start().pid, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _in_place() -> None:
    try:
        binary("postgres"), binary("unleash")
    except PartMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"nothing of Unleash is tested here: {missing}")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Postgresql]:
    with Postgresql(tmp_path) as running:
        yield running


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_database_is_never_run_as_root(database: Postgresql) -> None:
    (owners,) = [
        line.split()[1:] for line in Path(f"/proc/{database.pid}/status").read_text().splitlines() if "Uid" in line
    ]
    assert set(owners) == {str(os.geteuid() or 65534)}


def test_the_database_dies_with_a_parent_killed_by_force(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _exists(pid)
        parent.kill()
    wait_until(lambda: not _exists(pid), within_s=10, what="the database is gone")


def test_the_database_keeps_its_data_and_does_not_wait_for_its_clients_to_end(database: Postgresql) -> None:
    database.run("CREATE TABLE kept (it int)")
    with socket.create_connection((LOOPBACK, database.port)) as client:
        client.sendall(postgresql._HELLO)
        assert client.recv(1) == b"R"
        database.stop()
    assert database.child.exit_code == 0
    database.start()
    database.run("INSERT INTO kept VALUES (1)")
    database.kill()
    database.start()
    with pytest.raises(PartFailed, match='relation "kept" already exists'):
        database.run("CREATE TABLE kept (it int)")


def test_a_server_that_was_killed_comes_back_with_its_flags(tmp_path: Path) -> None:
    with Unleash(tmp_path) as server:
        server.feature("new-checkout", [gradual("new-checkout", 25)])
        person, client = server.person("alice"), server.client_token()
        before = server.shown("new-checkout")
        assert (before["enabled"], before["strategies"][0]["parameters"]["rollout"]) == (True, "25")
        server.kill()
        assert not server.ready()
        server.start()
        assert server.shown("new-checkout") == before
        server.switch("new-checkout", on=False, token=person)
        (last, *_) = server.ask("GET", "/events/new-checkout")["events"]
        assert (last["type"], last["createdBy"]) == ("feature-environment-disabled", "alice")
        assert client.secret.startswith("*:development.")
    assert not server.database.running
