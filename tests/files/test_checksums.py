"""Checksums of files, and of the weights that a run's results belong to."""

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.files.checksums import file_checksum, read_checksums, verify_file, write_checksums
from vsr_cli.runs.run import Run


def test_changed_file_is_noticed_after_a_first_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"first")
    expected = file_checksum(path)
    verify_file(path, expected, remedy="restore it")
    path.write_bytes(b"other content")
    with pytest.raises(VsrError, match=r"file: is damaged.*restore it"):
        verify_file(path, expected, remedy="restore it")
    path.unlink()
    with pytest.raises(VsrError, match="file: is missing; restore it"):
        verify_file(path, expected, remedy="restore it")


def test_an_empty_file_has_a_checksum(tmp_path):
    (tmp_path / "empty").touch()
    assert file_checksum(tmp_path / "empty").startswith("xxh3-128:")


def test_checksums_of_a_folder_round_trip(tmp_path):
    (tmp_path / "a").write_text("a")
    write_checksums(tmp_path, ["a"])
    assert read_checksums(tmp_path, remedy="") == {"a": file_checksum(tmp_path / "a")}
    (tmp_path / "checksums.json").write_text("[]")
    with pytest.raises(VsrError, match=r"checksums\.json: cannot be read .*do this"):
        read_checksums(tmp_path, remedy="do this")


def test_digest_changes_with_further_training(train_small, tmp_path):
    run = train_small(tmp_path / "run", "training.epochs=1")
    first = run.weights_digest("last")
    assert Run(run.folder).weights_digest("last") == first
    other = train_small(tmp_path / "other", "training.epochs=1", "training.seed=5")
    assert other.weights_digest("last") != first
