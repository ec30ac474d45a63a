"""Errors of the operating system are not reported as damage, and name a remedy."""

import errno
import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from vsr_cli import system_errors
from vsr_cli.api import Rejected, Story
from vsr_cli.data import scratch
from vsr_cli.data.images import read_image
from vsr_cli.data.preparation.story_encoding import content_of, encode_story
from vsr_cli.data.shards import MappedRows, map_shard, save_shard
from vsr_cli.errors import VsrError
from vsr_cli.files.atomic import read_json, write_json
from vsr_cli.model.weights import load_weights
from vsr_cli.system_errors import describe_os_error, refuse_exhaustion, refuse_system_error
from vsr_plugins.datasets.folder import read_story


@contextmanager
def no_file_left():
    """Use up all the files that a process may open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def readers(folder):
    """Return functions that read a whole file of each kind."""
    write_json(folder / "a.json", {})
    save_shard(folder / "a.safetensors", {"rows": np.zeros((2, 3), np.uint8)})
    Image.new("RGB", (4, 4)).save(folder / "1.jpg")
    (folder / "1.txt").write_text("A text.")
    story = read_story(folder)
    assert isinstance(story, Story)
    return {
        "json": lambda: read_json(folder / "a.json", what="settings"),
        "shard": lambda: map_shard(folder / "a.safetensors"),
        "weights": lambda: load_weights(folder / "a.safetensors"),
        "picture": lambda: read_image(folder / "1.jpg", where="1.jpg", size=32, resize="stretch"),
        "digest": lambda: content_of(story),
        "decoding": lambda: encode_story(story, size=32, resize="stretch"),
        "story": lambda: read_story(folder),
    }


READERS = ("json", "shard", "weights", "picture", "digest", "decoding", "story")


@pytest.mark.parametrize("kind", READERS)
def test_too_many_open_files_is_not_reported_as_damage(tmp_path, kind):
    read = readers(tmp_path)[kind]
    with pytest.raises(VsrError, match=r"Too many open files; .*ulimit -n") as raised, no_file_left():
        read()
    assert "\n" not in str(raised.value)
    assert "remove" not in str(raised.value)
    assert not isinstance(read(), Rejected)


def test_rows_of_many_files_are_read_within_the_file_limit(tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(200)]
    for number, path in enumerate(paths):
        save_shard(path, {"rows": np.full(1, number, np.uint8)})
    rows = MappedRows(paths, [1] * len(paths), row_shape=(), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 20, limits[1]))
    try:
        assert rows.gather(np.arange(200)).tolist() == list(range(200))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENFILE, "close other programs"),
        (errno.ENOMEM, "Cannot allocate memory; close other programs"),
        (errno.EACCES, "check the path and its permissions"),
        (errno.EIO, "the disk or the network reports an error"),
    ],
)
def test_refused_memory_map_names_the_reason(tmp_path, monkeypatch, number, says):
    save_shard(tmp_path / "a.safetensors", {"rows": np.zeros(3)})

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mmap.mmap", refuse)
    with pytest.raises(VsrError, match=says) as raised:
        map_shard(tmp_path / "a.safetensors")
    assert str(tmp_path / "a.safetensors") in str(raised.value)
    assert "cut short" not in str(raised.value)


def test_content_errors_are_left_to_the_reader(tmp_path):
    (tmp_path / "a").touch()
    for error in (ValueError("not JSON"), FileNotFoundError(errno.ENOENT, "none"), IsADirectoryError(21, "a folder")):
        refuse_system_error(error, tmp_path / "a")
        refuse_exhaustion(error, tmp_path / "a")
    refuse_exhaustion(PermissionError(errno.EACCES, "no"), tmp_path / "a")
    refuse_exhaustion(MemoryError(), tmp_path / "a")  # a damaged image asks for more than there is


def test_out_of_memory_is_not_reported_as_image_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(system_errors, "memory_is_left", lambda: False)
    with pytest.raises(VsrError, match="memory"):
        refuse_exhaustion(MemoryError(), tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("out/a.json", "write to another disk"),
        ("cache/features/a", "VSR_CACHE"),
        ("tmp/.vsr-scratch.x.vsr-tmp/data", "TMPDIR"),
    ],
)
def test_full_disk_names_path_and_setting(tmp_path, monkeypatch, number, name, remedy):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    said = describe_os_error(OSError(number, "library's own words"), tmp_path / name)
    assert said.startswith(f"{tmp_path / name}: {os.strerror(number)}; free some space")
    assert [word for word in ("--out", "write to another disk", "VSR_CACHE", "TMPDIR") if word in said] == [remedy]


def test_full_tmpdir_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert (scratch.scratch_array((2, 3), np.uint8) == 0).all()
    monkeypatch.setattr(scratch.os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space") as raised:
        scratch.scratch_array((2, 3), np.uint8)
    assert f"{tmp_path}: No space left on device; free some space" in describe_os_error(raised.value)
    assert "TMPDIR" in describe_os_error(raised.value)
