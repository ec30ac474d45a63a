import struct
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from vsr_cli.data import shards
from vsr_cli.data.shards import ArrayRows, ShardedArray, ShardWriter, folder_bytes
from vsr_cli.errors import VsrError


def write(folder, rows, *, pieces=1):
    writer = ShardWriter(folder)
    for piece in np.array_split(rows, pieces):
        writer.append(piece)
    writer.close()
    return writer


def files(folder):
    return sorted(folder.glob("rows-*.safetensors"))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 3)])
def test_rows_come_back_as_they_were_written(tmp_path, monkeypatch, dtype, shape):
    rows = np.random.default_rng(0).integers(0, 200, (11, *shape)).astype(dtype)
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * max(1, rows[0].nbytes))
    assert write(tmp_path / "rows", rows, pieces=4).count == 11
    assert len(files(tmp_path / "rows")) == 4
    read = ShardedArray(tmp_path / "rows")
    assert len(read) == 11
    assert read.row_shape == shape
    found = read.gather(np.arange(11))
    assert found.dtype == dtype
    assert np.array_equal(found, rows)


def test_a_shard_boundary_that_falls_on_the_last_row_adds_no_empty_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 4)
    write(tmp_path, np.arange(8, dtype=np.uint8))
    assert len(files(tmp_path)) == 2
    assert len(ShardedArray(tmp_path)) == 8


def test_more_than_a_hundred_shards_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    rows = np.arange(120, dtype=np.uint8)
    write(tmp_path, rows)
    assert np.array_equal(ShardedArray(tmp_path).gather(np.arange(120)), rows)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(1, 30), per_shard=st.integers(1, 9), shape=st.sampled_from([(), (2,), (3, 2)]))
def test_gathering_is_numpys_fancy_indexing(data, count, per_shard, shape):
    rows = np.random.default_rng(count).integers(0, 255, (count, *shape)).astype(np.uint8)
    index_shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    size = int(np.prod(index_shape))
    drawn = data.draw(st.lists(st.integers(0, count - 1), min_size=size, max_size=size))
    indices = np.asarray(drawn, dtype=np.int64).reshape(index_shape)
    with tempfile.TemporaryDirectory() as name, patch.object(shards, "SHARD_BYTES", per_shard * rows[0].nbytes):
        write(Path(name), rows)
        found = ShardedArray(Path(name)).gather(indices)
    assert found.shape == (*index_shape, *shape)
    assert np.array_equal(found, rows[indices])
    assert np.array_equal(ArrayRows(rows).gather(indices), found)


def test_what_is_gathered_is_a_copy(tmp_path):
    write(tmp_path, np.zeros((3, 2), dtype=np.float32))
    read = ShardedArray(tmp_path)
    read.gather(np.asarray([1]))[:] = 7
    assert not read.gather(np.asarray([0, 1, 2])).any()


def one_shard(folder):
    write(folder, np.arange(64, dtype=np.float32).reshape(8, 8))
    return files(folder)[0]


def truncated_in_data(path):
    path.write_bytes(path.read_bytes()[:-1])


def truncated_in_header(path):
    path.write_bytes(path.read_bytes()[:20])


def truncated_in_length(path):
    path.write_bytes(path.read_bytes()[:5])


def emptied(path):
    path.write_bytes(b"")


def plain_text(path):
    path.write_text("hello, world: this is a text and no tensor")


def header_of_the_wrong_json(path):
    path.write_bytes(struct.pack("<Q", 4) + b"null" + bytes(100))


def high_bytes(path):
    path.write_bytes(b"\xff" * 64)


def tensor_of_another_name(path):
    save_file({"other": np.zeros(3, dtype=np.float32)}, path)


def tensor_of_another_type(path):
    save_file({"rows": np.zeros(3, dtype=np.int64)}, path)


@pytest.mark.parametrize(
    "damage",
    [
        truncated_in_data,
        truncated_in_header,
        truncated_in_length,
        emptied,
        plain_text,
        tensor_of_another_name,
        tensor_of_another_type,
        header_of_the_wrong_json,
        high_bytes,
    ],
    ids=lambda damage: getattr(damage, "__name__", None),
)
def test_a_damaged_or_foreign_shard_is_one_line_that_names_it(tmp_path, damage):
    path = one_shard(tmp_path)
    damage(path)
    with pytest.raises(VsrError, match="prepare the data anew") as raised:
        ShardedArray(tmp_path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_without_shards_is_one_line(tmp_path):
    with pytest.raises(VsrError, match="holds no rows"):
        ShardedArray(tmp_path)


def test_the_bytes_of_a_folder_are_those_of_its_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(bytes(3))
    (tmp_path / "deep" / "b").write_bytes(bytes(4))
    assert folder_bytes(tmp_path) == 7
