"""Atomic writes: readers never see a partial file, and leftovers are removed."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from vsr_cli.errors import VsrError
from vsr_cli.files import atomic
from vsr_cli.files.atomic import (
    is_empty,
    is_temporary,
    remove_at_once,
    replacing,
    replacing_folder,
    scratch_folder,
    sweep,
    writing,
)

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from vsr_cli.files.atomic import replacing, replacing_folder
path = Path(sys.argv[1])
with (replacing_folder if sys.argv[2] == "folder" else replacing)(path) as temporary:
    (temporary / "file" if sys.argv[2] == "folder" else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_writing(path: Path, what: str) -> Path:
    """Kill a process that writes, and return what it leaves."""
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, path, what], check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = path.parent.iterdir()
    return left


@pytest.fixture
def fresh(monkeypatch):
    """Sweep as a process does that has not written anything yet."""
    monkeypatch.setattr(atomic, "_swept", set())


@pytest.mark.parametrize("what", ["file", "folder"])
def test_leftovers_of_a_kill_are_hidden_and_removed(tmp_path, fresh, what):
    path = tmp_path / "some" / "a.safetensors"
    path.parent.mkdir()
    left = kill_while_writing(path, what)
    assert is_temporary(left)
    assert is_empty(path.parent)
    assert list(path.parent.glob("*.safetensors")) == list(path.parent.glob("*.png")) == []
    with replacing(path.parent / "another.json") as temporary:
        assert not left.exists()
        assert (temporary.name, temporary.parent.parent) == ("another.json", path.parent)
        temporary.write_text("{}")
    assert [each.name for each in path.parent.iterdir()] == ["another.json"]


def test_sweep_keeps_files_in_use_and_other_files(tmp_path, fresh):
    (tmp_path / ".config.tmp").mkdir()
    (tmp_path / f".file{atomic.TEMPORARY}").write_text("somebody's file")
    outside = tmp_path.with_name("outside")
    outside.mkdir()
    (tmp_path / f".link{atomic.TEMPORARY}").symlink_to(outside)
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
        sweep(tmp_path)
        assert temporary.exists()
    assert outside.exists()
    assert len(list(tmp_path.iterdir())) == 4


def test_sweep_under_a_lock_removes_leftovers_of_named_files(tmp_path):
    for name in (".curves.png.k1ll3d_x.png", ".curves.png", "curves.png", ".other.png.k1ll3d_x.png"):
        (tmp_path / name).touch()
    for name in (".last.k1ll3d_x", ".last.new"):
        (tmp_path / name).mkdir()
    sweep(tmp_path, names=("curves.png", "last"))
    left = {".curves.png", "curves.png", ".other.png.k1ll3d_x.png", ".last.new"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_sweep_removes_leftovers_of_libraries(tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.with_name(".tmpXYZ").write_text("as safetensors leaves it when it is killed")
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_failed_write_keeps_the_older_file(tmp_path):
    (tmp_path / "a.txt").write_text("older")
    with suppress(ZeroDivisionError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "older"}


def test_links_are_replaced_and_not_written_through(tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "link").symlink_to(other)
    os.link(other, tmp_path / "hard")
    for name in ("link", "hard"):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("new")
        assert (tmp_path / name).read_text() == "new"
        assert not (tmp_path / name).is_symlink()
    assert other.read_text() == "mine"


@pytest.mark.parametrize("length", [10, 250])
def test_any_valid_file_name_can_be_written(tmp_path, length):
    name = "é" * (length // 2)
    with replacing_folder(tmp_path / name) as folder:
        (folder / "file").touch()
    with replacing(tmp_path / name / name) as temporary:
        temporary.touch()
    assert (tmp_path / name / name).is_file()


def full(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_by_name(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize("fail", [full, full_by_name])
def test_write_error_names_the_file(tmp_path, fail):
    with pytest.raises(OSError, match="No space") as raised, replacing(tmp_path / "a.txt") as temporary:
        fail(temporary)
    assert raised.value.filename == str(tmp_path / "a.txt")


def test_read_error_keeps_its_file_name(tmp_path):
    with pytest.raises(OSError, match="absent") as raised, replacing(tmp_path / "a.txt"):
        Path("absent").read_text()
    assert raised.value.filename == "absent"


def test_safetensors_write_error_names_file_and_reason(tmp_path):
    path = tmp_path / "absent" / "a.safetensors"
    with pytest.raises(VsrError, match=r"a\.safetensors: No such file or directory"), writing(path):
        save_file({}, path)


def test_a_folder_is_removed_at_once(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").touch()
    seen = []
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda path, **_: seen.append((tmp_path / "set").exists()))
    remove_at_once(tmp_path / "set")
    assert seen == [False]
    assert is_empty(tmp_path)


def test_scratch_folder_is_in_tmpdir_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []
