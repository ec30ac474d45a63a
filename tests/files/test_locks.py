"""One process at a time writes to a folder, and readers keep their files open."""

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.files import locks
from vsr_cli.files.locks import exclusive_lock, hold_shared_lock, is_held, shared_lock, try_lock


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)


def alone(folder):
    return exclusive_lock(folder, busy="busy", patience=0.0)


def beside(folder):
    return shared_lock(folder, busy="busy", patience=0.0)


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [(alone, alone, True), (alone, beside, True), (beside, alone, True), (beside, beside, False)],
)
def test_shared_and_exclusive_locks(tmp_path, first, second, refused):
    folder = tmp_path / "made" / "here"
    with ExitStack() as stack, first(folder):
        if refused:
            stack.enter_context(pytest.raises(VsrError, match=r"^busy$"))
        stack.enter_context(second(folder))
    assert not folder.parent.exists(), "what was made for the lock alone goes"
    with alone(folder):
        assert is_held(folder)
        (folder / "file").touch()
    assert not is_held(folder)


def test_folder_that_cannot_be_created_is_not_waited_for():
    with pytest.raises(FileNotFoundError), exclusive_lock(Path("/proc/absent"), busy="busy", patience=float("inf")):
        pass


def test_replaced_folder_is_locked_itself(tmp_path, monkeypatch):
    """The one who had the lock has removed the folder: whoever gets that lock then would be alone with nothing."""
    folder = tmp_path / "folder"
    lock, replaced = fcntl.flock, []

    def replace_first(handle, kind):
        lock(handle, kind)
        if not replaced:
            replaced.append(folder.rename(tmp_path / "gone"))

    monkeypatch.setattr(locks.fcntl, "flock", replace_first)
    with alone(folder):
        assert replaced
        with pytest.raises(VsrError, match="busy"), alone(folder):
            pass


def test_checking_a_lock_blocks_nobody(tmp_path, monkeypatch):
    probe = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    monkeypatch.setattr(locks.time, "sleep", lambda _: os.close(probe))
    with exclusive_lock(tmp_path, busy="busy", patience=10.0):
        assert is_held(tmp_path)


def test_reader_lock_blocks_writers(tmp_path):
    class Reader:
        pass

    reader = Reader()
    hold_shared_lock(tmp_path, reader)
    with try_lock(tmp_path) as free:
        assert not free
    del reader
    with try_lock(tmp_path) as free:
        assert free
    with try_lock(tmp_path / "absent") as free:
        assert not free
    assert not (tmp_path / "absent").exists()
    hold_shared_lock(tmp_path / "absent", Reader())


def test_file_system_without_locks_is_tolerated(tmp_path, monkeypatch):
    def without(handle, kind):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", without)
    with alone(tmp_path), alone(tmp_path):
        assert is_held(tmp_path)
