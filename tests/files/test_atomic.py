"""What is half-written is invisible to readers, and goes once nobody writes it any more."""

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
def test_what_a_kill_leaves_is_invisible_and_goes_with_the_next_write(tmp_path, fresh, what):
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


def test_what_is_being_written_is_not_swept_and_what_is_not_ours_neither(tmp_path, fresh):
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


def test_under_a_lock_the_leftovers_of_named_files_go_too_but_no_whole_folder(tmp_path):
    for name in (".curves.png.k1ll3d_x.png", ".curves.png", "curves.png", ".other.png.k1ll3d_x.png"):
        (tmp_path / name).touch()
    for name in (".last.k1ll3d_x", ".last.new"):
        (tmp_path / name).mkdir()
    sweep(tmp_path, names=("curves.png", "last"))
    left = {".curves.png", "curves.png", ".other.png.k1ll3d_x.png", ".last.new"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_what_a_library_leaves_beside_its_own_file_goes_as_well(tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.with_name(".tmpXYZ").write_text("as safetensors leaves it when it is killed")
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_writing_that_ends_badly_leaves_the_older_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("older")
    with suppress(ZeroDivisionError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "older"}


def test_a_link_or_a_hard_link_in_the_place_of_a_file_is_replaced_and_not_written_through(tmp_path):
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
def test_any_file_name_that_the_system_takes_can_be_written(tmp_path, length):
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
def test_an_error_in_writing_names_the_file_that_was_to_be_written(tmp_path, fail):
    with pytest.raises(OSError, match="No space") as raised, replacing(tmp_path / "a.txt") as temporary:
        fail(temporary)
    assert raised.value.filename == str(tmp_path / "a.txt")


def test_an_error_in_reading_something_else_keeps_its_name(tmp_path):
    with pytest.raises(OSError, match="absent") as raised, replacing(tmp_path / "a.txt"):
        Path("absent").read_text()
    assert raised.value.filename == "absent"


def test_safetensors_that_cannot_be_written_name_the_file_and_the_reason(tmp_path):
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


def test_a_scratch_folder_lies_where_tmpdir_says_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []
