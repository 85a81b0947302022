import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from activities import config_file
from activities.config_file import ConfigFile
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    path = tmp_path / "checkout.json"
    path.write_bytes(b"old")
    return ConfigFile(path)


async def test_replacing_keeps_mode_and_leaves_nothing_else_behind(file: ConfigFile) -> None:
    file.path.chmod(0o604)
    before = file.path.stat()
    await file.replace(b"new")
    after = file.path.stat()
    assert await file.read() == b"new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert [path.name for path in file.path.parent.iterdir()] == ["checkout.json"]


async def test_the_leftover_of_an_editor_that_died_is_no_obstacle(file: ConfigFile) -> None:
    file.path.with_name(".checkout.json.new").write_bytes(b"half")
    await file.replace(b"new")
    assert await file.read() == b"new"


async def test_a_failed_write_leaves_the_old_content(file: ConfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RouterUnreachable, match="No space left"):
        await file.replace(b"new")
    assert [(path.name, path.read_bytes()) for path in file.path.parent.iterdir()] == [("checkout.json", b"old")]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
async def test_a_write_that_is_not_allowed_names_the_path_and_leaves_the_old_content(
    file: ConfigFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(NotPermitted, match=rf"{file} cannot be replaced: {os.strerror(number)}; let this worker"):
        await file.replace(b"new")
    assert await file.read() == b"old"


@pytest.mark.parametrize(("mode", "replaced"), [(0o644, True), (0o640, False)])
async def test_a_file_that_is_now_ours_must_stay_readable_for_the_router(
    file: ConfigFile, monkeypatch: pytest.MonkeyPatch, mode: int, replaced: bool
) -> None:
    def only_root(_file: int, _uid: int, _gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    file.path.chmod(mode)
    monkeypatch.setattr(os, "fchown", only_root)
    if replaced:
        await file.replace(b"new")
    else:
        with pytest.raises(NotPermitted, match="not permitted"):
            await file.replace(b"new")
    assert await file.read() == (b"new" if replaced else b"old")


async def test_a_missing_file_is_misconfigured_and_a_folder_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="is missing; create it"):
        await ConfigFile(tmp_path / "none.json").read()
    with pytest.raises(RouterUnreachable, match="cannot be read"):
        await ConfigFile(tmp_path).read()
    with pytest.raises(RouterUnreachable, match="cannot be opened"):
        async with ConfigFile(tmp_path / "no" / "folder.json").alone():
            pytest.fail("there is nothing to lock")


async def test_two_tasks_edit_one_after_the_other(file: ConfigFile) -> None:
    order: list[str] = []

    async def edit(name: str) -> None:
        async with file.alone():
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(edit("a"), edit("b"))
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


async def test_another_process_is_waited_for_but_not_for_ever(
    file: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    monkeypatch.setattr(config_file, "_LOCK_S", 0.1)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", hold, f"{file}.lock", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    await other.stdout.readline()
    with pytest.raises(RouterUnreachable, match="another process"):
        async with file.alone():
            pytest.fail("two editors at a time")
    await other.communicate(b"\n")
    async with file.alone():
        pass
