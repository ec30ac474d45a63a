"""Damage in prepared data and in the feature cache is reported or harmless, and `vsr prepare` repairs it."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from vsr_cli.data import shards
from vsr_cli.data.manifest import MANIFEST
from vsr_cli.data.prepared import PROBLEMS, open_prepared
from vsr_cli.data.splits import SPLITS
from vsr_cli.data.verify import verify_prepared
from vsr_cli.errors import VsrError
from vsr_cli.files import checksums
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config

from ..damage import damage

SETTINGS = ["dataset.stories=14", "dataset.width=96", "dataset.height=48", "data.image_size=32"]


def prepare(folder: Path, groups: Path) -> None:
    flags = {"data.group_csv": groups}
    config = prepare_config(registry(), dataset="storyworld", preset="tiny", flags=flags, assignments=SETTINGS)
    run_prepare(config, None, folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "data"
    groups = folder.parent / "groups.csv"  # of no story here: that of each is a problem, so that there are some
    groups.write_text("story,group\nnone,one\n")
    prepare(folder, groups)
    return folder


def as_a_new_process() -> None:
    checksums._known.clear()
    shards._verified.clear()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def observed(folder: Path) -> str:
    """Return a digest of all that commands read of prepared data."""
    prepared = open_prepared(folder)
    digest = hashlib.sha256(repr(sorted(prepared.manifest.items())).encode())
    digest.update(repr([*prepared.stories(), *prepared.problems(), *prepared.frames.texts]).encode())
    digest.update(prepared.frames.images.gather(np.arange(len(prepared.frames.images))).tobytes())
    for values in vars(prepared.image_facts).values():
        digest.update(values.tobytes())
    for split in SPLITS:
        windows = prepared.windows(split)
        digest.update(repr(list(windows.stories)).encode())
        for rows in (windows.image_rows, windows.text_rows, windows.repeated, windows.starts):
            digest.update(rows.tobytes())
    for line in verify_prepared(prepared).damaged:  # the chunks' records are read by 'vsr prepare' alone
        raise VsrError(line)
    return digest.hexdigest()


def outcome(folder: Path) -> tuple[str | None, str | None]:
    """Return what is observed, or the error that a user would be shown."""
    as_a_new_process()
    try:
        return observed(folder), None
    except VsrError as error:
        return None, str(error)


def test_damage_in_any_prepared_file_is_reported_or_harmless(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "data"))
    expected = observed(folder)
    files = sorted(name for name in content(folder) if name != PROBLEMS)  # a copy for people, which nothing reads
    assert {Path(name).suffix for name in files} == {".json", ".jsonl", ".arrow", ".safetensors"}
    assert all((folder / name).stat().st_size for name in files)
    random = np.random.default_rng(5)
    noticed = 0
    for number in range(240):
        path = folder / files[number % len(files)]
        before = path.read_bytes()
        way = damage(path, random)
        result, error = outcome(folder)
        assert error is not None or result == expected, f"{path}: {way}: other data, and no error"
        if error is not None:
            noticed += 1
            assert len(error.splitlines()) == 1, f"{path}: {way}: {error}"
            assert str(path) in error, f"{path}: {way}: {error}"
        path.write_bytes(before)
    assert noticed > 200
    assert outcome(folder) == (expected, None)


@pytest.mark.parametrize("suffix", ["safetensors", "jsonl", "arrow", "problems.jsonl", "chunks.json", "summary.json"])
def test_prepare_repairs_damaged_chunks(whole, tmp_path, suffix, capsys):
    folder = Path(shutil.copytree(whole, tmp_path / "data"))
    path = sorted(path for path in folder.glob("*/*") if path.name.endswith(suffix))[0]
    changed = bytearray(path.read_bytes())
    changed[len(changed) * 3 // 4] ^= 8
    path.write_bytes(changed)
    as_a_new_process()
    prepare(folder, whole.parent / "groups.csv")
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert warnings
    assert str(path) in warnings[0]
    assert content(folder) == content(whole)


def test_verify_lists_every_damaged_file(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "data"))
    as_a_new_process()
    sound = verify_prepared(open_prepared(folder))
    assert (sound.files, sound.damaged) == (len(content(folder)) - 1, [])  # all but the copy for people
    paths = [sorted(folder.glob(f"*/*{suffix}"))[-1] for suffix in (".safetensors", ".jsonl", ".arrow")]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-1] + b"~")
    as_a_new_process()
    damaged = verify_prepared(open_prepared(folder)).damaged
    assert len(damaged) == 3
    assert all(sum(str(path) in line for line in damaged) == 1 for path in paths)


def test_prepare_refuses_a_damaged_manifest_and_names_it(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "data"))
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace('"image_size": 32', '"image_size": 33'))
    before = content(folder)
    with pytest.raises(VsrError, match=r"manifest\.json: .* does not fit its checksum"):
        prepare(folder, whole.parent / "groups.csv")
    assert content(folder) == before
