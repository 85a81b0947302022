import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.parts import REPOSITORY
from testbed.processes import Child, PartFailed, free_ports, wait_until, wait_until_async

FOREVER = [sys.executable, "-c", "import time\nprint('here', flush=True)\nwhile True: time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('here', flush=True)\ntime.sleep(60)",
]

# Starts two children, the second from a thread that ends soon, freezes the first, says who they are, and waits.
PARENT = f"""
import sys, threading, time
from pathlib import Path
from testbed.processes import Child
children = []
def start():
    children.append(Child.start({FOREVER!r}, log=Path(sys.argv[1])))
    time.sleep(0.2)  # its leash is on before the thread ends
start()
thread = threading.Thread(target=start); thread.start(); thread.join()
time.sleep(0.2)
children[0].pause()
print(*(child.pid for child in children if child.running), flush=True)
time.sleep(60)
"""


def _exists(pid: int) -> bool:
    """Whether a process exists and is no zombie that only waits to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with Child.start(FOREVER, log=tmp_path / "log") as started:
        wait_until(lambda: "here" in started.output(), within_s=10, what="the child speaks", child=started)
        yield started


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_children_die_with_a_parent_killed_by_force_whatever_thread_started_them(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    try:
        with parent.stdout as said:
            pids = [int(word) for word in said.readline().split()]
        assert len(pids) == 2
        assert all(map(_exists, pids))
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not any(map(_exists, pids)), within_s=5, what="both children are gone")


def test_a_child_is_out_of_reach_of_the_terminals_interrupt(child: Child) -> None:
    assert os.getsid(child.pid) == child.pid
    assert os.getpgid(child.pid) != os.getpgid(0)


def test_killing_waits_until_the_process_is_gone(child: Child) -> None:
    child.kill()
    assert not child.running
    assert child.exit_code == -signal.SIGKILL
    child.kill()  # again is harmless
    assert child.stop() == -signal.SIGKILL


def test_stopping_reaches_a_frozen_child(child: Child) -> None:
    child.pause()
    assert child.stop(timeout_s=5) == -signal.SIGTERM


def test_a_child_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    with Child.start(DEAF, log=tmp_path / "log") as child:
        wait_until(lambda: "here" in child.output(), within_s=10, what="the child speaks", child=child)
        assert child.stop(timeout_s=0.2) == -signal.SIGKILL


def test_a_frozen_child_goes_on_when_resumed(tmp_path: Path) -> None:
    ticking = [sys.executable, "-c", "import time\nwhile True: print('tick', flush=True); time.sleep(0.01)"]
    with Child.start(ticking, log=tmp_path / "log") as child:
        wait_until(lambda: "tick" in child.output(), within_s=10, what="it ticks", child=child)
        child.pause()
        time.sleep(0.05)  # what it was writing
        before = len(child.output())
        time.sleep(0.1)
        assert len(child.output()) == before
        child.resume()
        wait_until(lambda: len(child.output()) > before, within_s=5, what="it ticks again", child=child)


def test_output_is_only_what_this_child_wrote(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("one", "two"):
        with Child.start([sys.executable, "-c", f"print('{word}')"], log=log) as child:
            wait_until(lambda child=child: not child.running, within_s=10, what="it ends")  # type: ignore[misc]
            assert child.output() == f"{word}\n"
    assert log.read_text() == "one\ntwo\n"


def test_the_environment_can_be_added_to_and_taken_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_GONE", "x")
    monkeypatch.setenv("SLUICE_KEPT", "y")
    show = "import os; print([os.environ.get(f'SLUICE_{n}') for n in ('GONE', 'KEPT', 'NEW')])"
    env = {"SLUICE_GONE": None, "SLUICE_NEW": "z"}
    with Child.start([sys.executable, "-c", show], log=tmp_path / "log", env=env) as child:
        wait_until(lambda: not child.running, within_s=10, what="it ends")
        assert child.output() == "[None, 'y', 'z']\n"


def test_waiting_in_vain_ends_with_a_sentence_and_the_log(child: Child) -> None:
    with pytest.raises(PartFailed, match=r"(?s)^Waited 0.1 s in vain: pigs fly\. The end of .*log:\nhere$"):
        wait_until(lambda: False, within_s=0.1, what="pigs fly", child=child)


def test_waiting_ends_at_once_when_the_child_dies(tmp_path: Path) -> None:
    with Child.start([sys.executable, "-c", "raise SystemExit('no such option')"], log=tmp_path / "log") as child:
        began = time.monotonic()
        with pytest.raises(PartFailed, match=r"(?s)ended with exit code 1 while waiting: it is ready.*no such option"):
            wait_until(lambda: False, within_s=60, what="it is ready", child=child)
        assert time.monotonic() - began < 30


async def test_the_async_twin_takes_plain_and_awaitable_conditions() -> None:
    answers = iter([False, True, False, True])

    async def ask() -> bool:
        return next(answers)

    await wait_until_async(ask, within_s=5, what="it answers")
    await wait_until_async(lambda: next(answers), within_s=5, what="it answers")
    with pytest.raises(PartFailed, match="pigs fly"):
        await wait_until_async(lambda: False, within_s=0.05, what="pigs fly")


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    given: list[int] = []

    def take() -> None:
        given.extend(free_ports(20))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == 80
    assert max(given) < 29_000
