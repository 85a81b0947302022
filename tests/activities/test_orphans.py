"""What a killed worker had in hand is taken back by the next one, and by nobody while it lives."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.orphans import Attempt, Orphans


class FakeClient:
    """Knows attempts, and hears what is reported as failed.

    Attributes:
        failed: tokens and errors, oldest first.
        gone: tokens that the server no longer knows.
        called_off: activities that are being cancelled.
    """

    def __init__(self) -> None:
        self.failed: list[tuple[bytes, ApplicationError]] = []
        self.gone: set[bytes] = set()
        self.called_off: set[str] = set()

    def get_workflow_handle(self, workflow: str, *, run_id: str) -> Any:
        assert (workflow, run_id) == ("rollout:prod/checkout", "run")
        state = PendingActivityState
        pending = [
            PendingActivityInfo(
                activity_id=name,
                state=state.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
                if name in self.called_off
                else state.PENDING_ACTIVITY_STATE_STARTED,
            )
            for name in ("one", "two", "gone", "there")
        ]

        class Handle:
            async def describe(self) -> Any:
                return SimpleNamespace(raw_description=SimpleNamespace(pending_activities=pending))

        return Handle()

    def get_async_activity_handle(self, *, task_token: bytes) -> Any:
        client = self

        class Handle:
            async def fail(self, error: ApplicationError) -> None:
                client.failed.append((task_token, error))
                if task_token in client.gone:
                    raise RPCError("no such activity", RPCStatusCode.NOT_FOUND, b"")

        return Handle()


def attempt(name: str) -> Attempt:
    """An attempt of one rollout."""
    return Attempt(name.encode(), "rollout:prod/checkout", "run", name)


_NEVER_ENDED: list[ExitStack] = []

Start = Callable[[], Orphans]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts workers of one machine; all of them end with the test."""
    with ExitStack() as open_:
        yield lambda: open_.enter_context(closing(Orphans(tmp_path / "state")))


def killed(worker: Orphans, *names: str) -> None:
    """A worker that dies with these in hand."""
    with ExitStack() as running:
        for name in names:
            running.enter_context(worker.kept(attempt(name)))
        _NEVER_ENDED.append(running.pop_all())
    worker._lock.close()  # the system does this, whatever a process dies of


def left(folder: Path) -> list[Path]:
    """What is in a folder."""
    return list(folder.iterdir())


async def test_what_a_killed_worker_had_in_hand_is_reported_once(tmp_path: Path, start: Start) -> None:
    killed(start(), "one", "two")
    client, worker = FakeClient(), start()
    assert await worker.take_back(client) == 2  # type: ignore[arg-type]  # a fake
    assert {token for token, _ in client.failed} == {b"one", b"two"}
    _, error = client.failed[0]
    assert (error.type, error.non_retryable) == ("WorkerKilled", False)
    assert error.next_retry_delay is not None
    assert await worker.take_back(client) == 0  # type: ignore[arg-type]  # a fake
    worker.close()
    assert left(tmp_path / "state") == []


async def test_what_a_worker_that_lives_has_in_hand_is_left_alone(start: Start) -> None:
    other, worker, client = start(), start(), FakeClient()
    with other.kept(attempt("other's")), worker.kept(attempt("mine")):
        assert await worker.take_back(client) == 0  # type: ignore[arg-type]  # a fake
    assert client.failed == []


async def test_what_has_ended_is_no_orphan(start: Start) -> None:
    dying, client = start(), FakeClient()
    with dying.kept(attempt("done")):
        pass
    dying._lock.close()
    assert await start().take_back(client) == 0  # type: ignore[arg-type]  # a fake


async def test_one_that_the_server_no_longer_knows_does_not_keep_the_others(start: Start) -> None:
    killed(start(), "gone", "there")
    client = FakeClient()
    client.gone = {b"gone"}
    worker = start()
    assert await worker.take_back(client) == 2  # type: ignore[arg-type]  # a fake
    assert {token for token, _ in client.failed} == {b"gone", b"there"}


async def test_a_folder_that_cannot_be_written_keeps_nobody_from_working(start: Start) -> None:
    worker = start()
    worker.close()
    done = False
    with worker.kept(attempt("one")):
        done = True
    assert done


def test_nobody_else_may_look(tmp_path: Path, start: Start) -> None:
    start()
    assert [oct(each.stat().st_mode & 0o777) for each in (tmp_path / "state").iterdir()] == ["0o700"]


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Orphans(tmp_path / "file" / "state")


async def test_what_is_being_called_off_is_left_to_the_silence_which_brings_its_last_heartbeat(start: Start) -> None:
    killed(start(), "one", "two")
    client = FakeClient()
    client.called_off = {"one"}
    await start().take_back(client)  # type: ignore[arg-type]  # a fake
    assert [token for token, _ in client.failed] == [b"two"]


async def test_a_file_that_cannot_be_read_does_not_keep_the_others(tmp_path: Path, start: Start) -> None:
    killed(start(), "one")
    (dead,) = left(tmp_path / "state")
    spoil(dead)
    client = FakeClient()
    assert await start().take_back(client) == 1  # type: ignore[arg-type]  # a fake
    assert [token for token, _ in client.failed] == [b"one"]


def spoil(dead: Path) -> None:
    """Half a file, and something that is none."""
    (dead / "half").write_text('["b25l', encoding="utf-8")
    (dead / "folder").mkdir()
