import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from vsr_cli.data import shards
from vsr_cli.data.shards import ArrayRows, ChosenRows, MappedRows, folder_bytes, map_shard, save_shard
from vsr_cli.errors import VsrError


def written(folder, rows, *, per_shard):
    """Write rows to shards of so many each, and open them."""
    parts = [rows[start : start + per_shard] for start in range(0, len(rows), per_shard)]
    paths = [folder / f"{number}.safetensors" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        save_shard(path, {"rows": part})
    return MappedRows(paths, [len(part) for part in parts], row_shape=rows.shape[1:], dtype=rows.dtype.type)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 3)])
def test_rows_round_trip(tmp_path, dtype, shape):
    rows = np.random.default_rng(0).integers(0, 200, (11, *shape)).astype(dtype)
    read = written(tmp_path, rows, per_shard=3)
    assert len(read) == 11
    found = read.gather(np.arange(11))
    assert found.dtype == dtype
    assert np.array_equal(found, rows)


def test_tensors_of_every_kind_are_mapped_by_name(tmp_path):
    tensors = {
        "size": np.asarray([[3, 4]], np.int32),
        "hash": np.asarray([2**64 - 1], np.uint64),
        "empty": np.empty((0, 16), np.uint8),
        "sliced": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
    }
    save_shard(tmp_path / "some.safetensors", tensors)
    mapped = map_shard(tmp_path / "some.safetensors")
    assert mapped.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert mapped[name].dtype == tensor.dtype
        assert np.array_equal(mapped[name], tensor)


def test_shards_beyond_the_limit_of_maps(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "OPEN_MAPS", 5)
    rows = np.arange(40, dtype=np.uint8)
    read = written(tmp_path, rows, per_shard=2)
    for _ in range(2):
        assert np.array_equal(read.gather(np.arange(40)[::-1]), rows[::-1])
    assert len(read._maps) == 5


@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(1, 30), per_shard=st.integers(1, 9), shape=st.sampled_from([(), (2,), (3, 2)]))
def test_gather_equals_numpy_indexing(data, count, per_shard, shape):
    rows = np.random.default_rng(count).integers(0, 255, (count, *shape)).astype(np.uint8)
    index_shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    size = int(np.prod(index_shape))
    chosen = data.draw(st.lists(st.integers(0, count - 1), min_size=size, max_size=size))
    indices = np.asarray(chosen, dtype=np.int64).reshape(index_shape)
    with tempfile.TemporaryDirectory() as name:
        mapped = written(Path(name), rows, per_shard=per_shard)
        found = mapped.gather(indices)
        turned = ChosenRows(mapped, np.arange(count)[::-1]).gather(indices)
    assert found.shape == (*index_shape, *shape)
    assert np.array_equal(found, rows[indices])
    assert np.array_equal(ArrayRows(rows).gather(indices), found)
    assert np.array_equal(turned, rows[::-1][indices])


def test_gather_returns_a_copy(tmp_path):
    read = written(tmp_path, np.zeros((3, 2), dtype=np.float32), per_shard=2)
    read.gather(np.asarray([1]))[:] = 7
    assert not read.gather(np.asarray([0, 1, 2])).any()


def one_shard(folder):
    return written(folder, np.arange(64, dtype=np.float32).reshape(8, 8), per_shard=8)


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
    save_shard(path, {"other": np.zeros(3, dtype=np.float32)})


def tensor_of_another_type(path):
    save_shard(path, {"rows": np.zeros(3, dtype=np.int64)})


def without_checksums(path):
    save_file({"rows": np.arange(64, dtype=np.float32).reshape(8, 8)}, path)


def bit_of_a_row_flipped(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 64
    path.write_bytes(content)


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
        without_checksums,
        bit_of_a_row_flipped,
        header_of_the_wrong_json,
        high_bytes,
    ],
    ids=lambda damage: getattr(damage, "__name__", None),
)
def test_damaged_shard_is_one_line(tmp_path, damage):
    rows = one_shard(tmp_path)
    path = tmp_path / "0.safetensors"
    damage(path)
    with pytest.raises(VsrError, match="run the same 'vsr prepare' again") as raised:
        rows.gather(np.asarray([0]))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("at", range(0, 560, 7))
def test_every_flipped_bit_is_noticed(tmp_path, at):
    rows = np.arange(64, dtype=np.float32).reshape(8, 8)
    save_shard(tmp_path / "0.safetensors", {"rows": rows, "digest": np.arange(16, dtype=np.uint8)})
    content = bytearray((tmp_path / "0.safetensors").read_bytes())
    assert len(content) < 600
    content[at % len(content)] ^= 1 << (at % 8)
    (tmp_path / "0.safetensors").write_bytes(content)
    shards._verified.clear()
    try:
        found = dict(map_shard(tmp_path / "0.safetensors"))
    except VsrError:
        return
    assert np.array_equal(found["rows"], rows)
    assert found["digest"].tolist() == list(range(16))


def test_tensor_is_verified_once(tmp_path, monkeypatch):
    save_shard(tmp_path / "0.safetensors", {"rows": np.zeros(8), "digest": np.arange(16, dtype=np.uint8)})
    compared = []
    checksum = shards._checksum
    monkeypatch.setattr(shards, "_checksum", lambda name, tensor: compared.append(name) or checksum(name, tensor))
    for _ in range(2):
        shard = map_shard(tmp_path / "0.safetensors")
        assert shard.unread("rows").shape == (8,)
        assert shard["digest"].sum() == 120
    assert compared == ["digest"]
    assert not map_shard(tmp_path / "0.safetensors")["rows"].any()
    assert compared == ["digest", "rows"]


def test_failed_write_leaves_no_shard(tmp_path):
    (tmp_path / "taken").write_text("a file, where a folder should be")
    with pytest.raises((VsrError, OSError)):
        save_shard(tmp_path / "taken" / "x.safetensors", {"rows": np.zeros(3, np.uint8)})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_folder_size_is_the_sum_of_file_sizes(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(bytes(3))
    (tmp_path / "deep" / "b").write_bytes(bytes(4))
    assert folder_bytes(tmp_path) == 7
