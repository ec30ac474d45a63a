"""Summaries and histories of runs, from generated folders."""

import fcntl
import io
import json
import os
from dataclasses import replace

import pytest
from rich.console import Console

from vsr_cli.api import VsrError
from vsr_cli.cli.runs.list import runs_list
from vsr_cli.cli.runs.show import runs_show
from vsr_cli.files.atomic import write_json
from vsr_cli.files.checksums import write_checksums
from vsr_cli.files.strict_json import to_json
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Registry
from vsr_cli.report.epochs import epoch_table
from vsr_cli.runs.changes import changes
from vsr_cli.runs.history import best_row, read_history
from vsr_cli.runs.opening import open_run
from vsr_cli.runs.run import FORMAT, Run
from vsr_cli.runs.summary import differing_parts, evaluations, is_run, summaries, summarise
from vsr_cli.workflows.settings import train_config

PARTS = ("visual", "text", "fusion", "temporal", "text_decoder", "image_decoder")


def row(epoch, validation=None):
    return {
        "epoch": epoch,
        "steps": 10 * epoch,
        "train": {"loss": 9.0 / epoch, "text": 8.0 / epoch},
        "validation": {} if validation is None else {"loss": validation, "text": validation - 1},
        "learning_rate": 1e-3,
        "windows_per_second": 100.0,
        "seconds": 60.0,
    }


def recorded(*assignments, **flags):
    """Return a configuration as a run records it."""
    chosen = train_config(
        registry(), manifest=None, preset="tiny", config=None, flags=flags, assignments=list(assignments)
    )
    return chosen.record()


def write_run(folder, *, started, status="finished", rows=(), config=None):
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config or recorded())
    facts = {"format": FORMAT, "status": status, "started": started, "data": "/stories/mine", "argv": ["vsr", "train"]}
    write_json(folder / "run.json", facts)
    for each in rows:
        Run(folder).append_history(each)
    return folder


def test_a_summary_says_how_far_a_run_came(tmp_path):
    folder = write_run(tmp_path / "a", started="2026-03-01T10:00:00", rows=[row(1, 5.0), row(2, 3.0), row(3, 4.0)])
    found = summarise(folder)
    assert (found.status, found.epochs_done, found.epochs_wanted) == ("finished", 3, 5)
    assert (found.best_epoch, found.best_validation, found.seconds) == (2, 3.0, 180.0)
    assert found.parts.keys() == set(PARTS)
    assert json.loads(json.dumps(found.record()))["folder"] == str(folder)


def test_the_history_of_a_finished_run_is_parsed_only_if_it_changed_since(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "a", started="1", rows=[row(1, 5.0), row(2, 3.0)])
    parsed = summarise(folder)
    Run(folder).finish(epochs=2)
    with monkeypatch.context() as context:
        context.setattr("vsr_cli.runs.summary.read_history", pytest.fail)
        assert replace(summarise(folder), ended=None) == parsed
    Run(folder).append_history(row(3, 2.0))
    assert summarise(folder).best_epoch == 3
    Run(folder).history.write_bytes(Run(folder).history.read_bytes().replace(b"60.0", b"61.0"))
    assert "line 1: not an epoch of a run, or damaged" in summarise(folder).problem


def test_the_best_epoch_is_that_of_the_loss_which_the_run_watches(tmp_path):
    rows = [row(1, 5.0), row(2, 3.0)]
    rows[1]["validation"]["text"] = 9.0
    config = recorded()
    config["training"]["best_metric"] = "text"
    found = summarise(write_run(tmp_path / "a", started="1", rows=rows, config=config))
    assert (found.best_epoch, found.best_validation) == (1, 4.0)


def test_runs_are_listed_newest_first_without_other_entries(tmp_path):
    write_run(tmp_path / "z-older", started="2026-03-01T10:00:00")
    write_run(tmp_path / "a-newer", started="2026-03-02T10:00:00")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    write_run(tmp_path / ".half", started="2026-03-03T10:00:00")
    assert [run.folder.name for run in summaries(tmp_path)] == ["a-newer", "z-older"]
    assert not is_run(tmp_path / "notes")
    assert summaries(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", "{", "run.json"),
        ("run.json", "[" * 100_000, "nested too deeply"),
        ("run.json", '{"format": 1}', "has no checksum"),
        ("run.json", {"format": 99}, "format 99"),
        ("run.json", {"format": FORMAT}, "lacks status"),
        ("config.json", "[]", "config.json"),
        ("config.json", b"\xff\xfe", "config.json"),
        ("config.json", {"training": {}}, "lacks something"),
        ("config.json", {"visual": {}}, "lacks training"),
        ("history.jsonl", b"\xff\n", "history.jsonl, line 1"),
        ("history.jsonl", to_json(row(1)) + "\n", "has no checksum"),
        ("history.jsonl", "once upon a time\n", "history.jsonl, line 1"),
        ("history.jsonl", '{"epoch": 1}\n', "history.jsonl, line 1"),
        ("history.jsonl", "3\n", "history.jsonl, line 1"),
    ],
)
def test_a_damaged_run_is_listed_last_with_the_reason(tmp_path, name, content, said):
    write_run(tmp_path / "whole", started="2026-03-01T10:00:00")
    folder = write_run(tmp_path / "damaged", started="2026-03-02T10:00:00")
    if isinstance(content, dict):
        write_json(folder / name, content)
    else:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    whole, damaged = summaries(tmp_path)
    assert (whole.status, whole.problem) == ("finished", None)
    assert damaged.status == "unreadable"
    assert said in damaged.problem


def test_an_incomplete_last_epoch_is_ignored(tmp_path):
    folder = write_run(tmp_path / "a", started="2026-03-01T10:00:00", rows=[row(1)])
    with (folder / "history.jsonl").open("a") as lines:
        lines.write(json.dumps(row(2))[:40])
    assert [each["epoch"] for each in read_history(folder / "history.jsonl")] == [1]
    assert read_history(folder / "absent.jsonl") == []


def test_a_running_run_without_a_process_was_killed(tmp_path):
    folder = write_run(tmp_path / "a", started="2026-03-01T10:00:00", status="running")
    assert summarise(folder).status == "killed"
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert summarise(folder).status == "running"
    os.close(handle)
    assert summarise(folder).status == "killed"


def test_differing_parts_include_the_temporal_model_always(tmp_path):
    write_run(tmp_path / "a", started="1", config=recorded())
    assert differing_parts(summaries(tmp_path)) == ["temporal"]
    write_run(tmp_path / "b", started="2", config=recorded(**{"visual.name": "resnet50"}))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    assert differing_parts(summaries(tmp_path)) == ["visual", "temporal"]


def test_changes_are_settings_beyond_preset_and_defaults():
    assert changes(registry(), recorded()) == []
    config = recorded("temporal.layers=2", "training.epochs=7", **{"temporal.name": "lstm"})
    assert [(change.setting, change.value, change.preset) for change in changes(registry(), config)] == [
        ("temporal.name", "lstm", "gru"),
        ("temporal.layers", 2, 1),
        ("training.epochs", 7, 5),
    ]


def test_changes_are_found_without_plugin_or_preset():
    config = recorded("temporal.layers=2", **{"temporal.name": "lstm"})
    found = {change.setting: change.value for change in changes(Registry(provided=()), config)}
    assert found["temporal.layers"] == 2
    assert "training.epochs" not in found
    found = {change.setting: change.preset for change in changes(registry(), config | {"preset": "of-tomorrow"})}
    assert found["temporal.name"] is None
    assert "temporal.hidden" not in found


def test_evaluations_are_listed_and_a_damaged_one_is_reported(tmp_path):
    folder = write_run(tmp_path / "a", started="1")
    baseline = {"value": 2.5, "verdict": "significantly better"}
    bleu = {"value": 3.5, "scale": "0..100", "baselines": {"copy-last": baseline}}
    result = {
        "format": 3, "copied": None,
        "run": "a", "data": "gone", "signature": "split:test", "checkpoint": "c", "cautions": [], "leaks": {},
        "split": "test", "stories": 2, "windows": 6, "metrics": {"bleu": bleu, "meteor": {"unavailable": "no WordNet"}},
    }  # fmt: skip
    for split in ("test", "validation", "train"):
        (folder / "evaluations" / split).mkdir(parents=True)
        write_json(folder / "evaluations" / split / "result.json", result if split == "test" else {})
        write_checksums(folder / "evaluations" / split, ["result.json"])
    (folder / "evaluations/train/result.json").write_text("{")
    found, problems = evaluations(Run(folder))
    assert [each["split"] for each in found] == ["test"]
    assert found[0]["scores"] == {
        "bleu": {"value": 3.5, "copy-last": 2.5, "verdict": "significantly better", "scale": "0..100"}
    }
    assert len(problems) == 2
    path = folder / "evaluations/test/result.json"
    path.write_text(path.read_text().replace("3.5", "8.5"))
    found, problems = evaluations(Run(folder))
    assert found == []
    assert any("evaluations/test/result.json: " in line and "does not fit its checksum" in line for line in problems)


def lines_of(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


def test_the_best_epoch_is_marked_and_the_first_of_equals():
    rows = [row(1, 5.0), row(2, 3.0), row(3, 3.0)]
    assert best_row(rows, "loss") is rows[1]
    assert best_row([row(1), row(2)], "loss") is None
    marked = [line for line in lines_of(epoch_table(rows, epochs=3, best=rows[1], width=80), 80) if "*" in line]
    assert len(marked) == 1
    assert "2/3" in marked[0]


@pytest.mark.parametrize("width", [30, 40, 60, 100])
def test_the_epoch_table_fits_and_keeps_the_main_columns(width):
    rows = [row(epoch, 5.0 - epoch) for epoch in (1, 2, 3)]
    lines = lines_of(epoch_table(rows, epochs=3, best=rows[2], width=width), width)
    assert len(lines) == 4
    assert lines[0].split()[:3] == ["epoch", "loss", "validation"]
    assert ("windows/s" in lines[0]) == (width >= 60)
    assert max(map(len, lines)) <= width


def test_a_long_history_keeps_its_ends_and_its_best_epoch():
    rows = [row(epoch, abs(epoch - 40.0)) for epoch in range(1, 101)]
    lines = lines_of(epoch_table(rows, epochs=100, best=best_row(rows, "loss"), width=80, most=12), 80)
    epochs = [line.split()[0] for line in lines[1:]]
    assert len(epochs) == 12
    assert (epochs[0], epochs[-1]) == ("1/100", "100/100")
    assert epochs.count("…") == 2
    assert "40/100" in epochs


def test_an_invalid_history_line_is_an_error_with_its_number(tmp_path):
    run = Run(tmp_path)
    path = run.history
    run.append_history(row(1))
    run.append_history(row(2) | {"epoch": "two"})
    with pytest.raises(VsrError, match=r"history\.jsonl, line 2"):
        read_history(path)


def test_a_missing_or_changed_history_line_is_noticed(tmp_path):
    run = Run(tmp_path)
    for epoch in (1, 2, 3):
        run.append_history(row(epoch))
    first, second, third = run.history.read_text().splitlines(keepends=True)
    assert len(read_history(run.history, epochs=3)) == 3
    for text, said in (
        (first + third, "line 2: epoch 2 is missing"),
        (first + second, "holds 2 of the 3 epochs"),
        (first + second + third.rstrip(), "holds 2 of the 3 epochs"),
        (first + second.replace('"loss": 4.5', '"loss": 4.1') + third, "line 2: not an epoch of a run, or damaged"),
        ("", "holds 0 of the 3 epochs"),
    ):
        run.history.write_text(text)
        with pytest.raises(VsrError, match=said):
            read_history(run.history, epochs=3)
    run.history.unlink()
    with pytest.raises(VsrError, match="holds 0 of the 3 epochs"):
        read_history(run.history, epochs=3)


@pytest.mark.parametrize(
    ("error", "status", "problem"),
    [
        (
            VsrError("data: is gone; name it", "text: lacks weights"),
            "failed",
            "data: is gone; name it; text: lacks weights",
        ),
        (RuntimeError("out of memory\ntried to allocate 2 GiB"), "failed", "RuntimeError: out of memory"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError"),
        (KeyboardInterrupt(), "interrupted", "interrupted by SIGINT"),
        (SystemExit(143), "interrupted", "interrupted by SIGTERM"),
        (SystemExit(7), "failed", "ended with exit code 7"),
    ],
)
def test_a_failed_run_records_and_shows_the_reason(tmp_path, capsys, error, status, problem):
    run = Run(write_run(tmp_path / "runs" / "a", started="1", status="running"))
    with pytest.raises(type(error)), run.recording_failure():
        raise error
    assert (run.facts()["status"], run.facts()["problem"]) == (status, problem)
    found = summarise(run.folder)
    assert (found.status, found.problem, found.is_readable) == (status, problem, True)
    runs_list(tmp_path / "runs")
    runs_show(run.folder)
    assert capsys.readouterr().out.count(problem) == 2


def test_a_run_that_was_stopped_before_its_first_checkpoint_can_only_be_resumed(tmp_path):
    run = write_run(tmp_path / "a", started="1", status="interrupted")
    with pytest.raises(VsrError, match=r"stopped before its first checkpoint.*'vsr train --resume"):
        open_run(run)
    (run / "checkpoints").mkdir()
    open_run(run)


def test_the_reason_of_a_killed_run(tmp_path):
    found = summarise(write_run(tmp_path / "a", started="1", status="running"))
    assert found.status == "killed"
    assert "no process is training it" in found.problem
