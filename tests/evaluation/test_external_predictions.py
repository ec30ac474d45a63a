"""`vsr score`: other systems' predictions under the protocol of `vsr evaluate`."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vsr_cli.api import VsrError
from vsr_cli.cli.compare import run_compare
from vsr_cli.cli.report import run_report
from vsr_cli.cli.score import run_score
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.evaluation.external_predictions import read_external, score_external, windows_of
from vsr_cli.plugin.discovery import registry


@pytest.fixture
def prepared(data):
    return open_prepared(data)


@pytest.fixture
def lines(prepared):
    """For every window, the last text of its context and its true image."""
    windows, frames = prepared.windows("test"), prepared.frames
    return [
        {"story": story, "window": int(start), "text": frames.texts[row[3]]}
        for story, start, row in zip(windows.stories, windows.starts, windows.text_rows.tolist(), strict=True)
    ]


@pytest.fixture
def write_lines(tmp_path):
    def write(lines):
        path = tmp_path / "theirs.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    return write


def with_pictures(lines, prepared, folder):
    """Add each window's true image, in the proportions of its source, as a file."""
    (folder / "pictures").mkdir()
    rows = prepared.windows("test").image_rows[:, 4]
    for number, pixels in enumerate(prepared.frames.images.gather(rows)):
        Image.fromarray(pixels).save(folder / f"pictures/{number}.png")
        lines[number]["image"] = f"pictures/{number}.png"
    return lines


def choices(*names):
    return resolve_metrics(registry(), names or ["bleu", "rouge"], [])


def scored(path, prepared, *names, allow_missing=False):
    given = read_external(path, windows_of(prepared, "test"))
    return score_external(given, prepared, "test", choices(*names), allow_missing=allow_missing)


def test_predictions_that_copy_the_last_text_score_exactly_the_baseline(lines, prepared, write_lines):
    result = scored(write_lines(lines), prepared).result
    for cell in result["metrics"].values():
        baseline = cell["baselines"]["copy-last"]
        assert cell["value"] == baseline["value"]
        assert (baseline["difference"], baseline["verdict"]) == (0, "not significant")
        assert baseline["ci95"] == [0, 0]
    assert result["windows"] == len(lines) - result["leaks"]["left_out"]


def test_the_order_of_lines_does_not_matter(lines, prepared, write_lines):
    before = scored(write_lines(lines), prepared)
    after = scored(write_lines(lines[::-1]), prepared)
    assert after.result == before.result
    assert list(after.predictions) == list(before.predictions)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_predictions_of_vsr_evaluate_and_a_byte_order_mark_are_read(lines, prepared, write_lines, encoding):
    own = [{"story": e["story"], "start": e["window"], "prediction": e["text"], "reference": "x"} for e in lines]
    path = write_lines(own)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert scored(path, prepared).result == scored(write_lines(lines), prepared).result


def test_story_names_match_in_any_unicode_form(tmp_path):
    (tmp_path / "theirs.jsonl").write_text(json.dumps({"story": "e\u0301", "window": 0, "text": "x"}) + "\n")
    assert read_external(tmp_path / "theirs.jsonl", [("\u00e9", 0)]).texts == {("\u00e9", 0): "x"}


def test_target_images_have_no_error_and_are_stored(lines, prepared, write_lines, tmp_path):
    path = write_lines(with_pictures(lines, prepared, tmp_path))
    folder, result = run_score(
        registry(), path, prepared.folder, "test", choices("mse", "bleu"), out=tmp_path / "out", allow_missing=False
    )
    assert result["metrics"]["mse"]["value"] == 0
    assert len(list((folder / "evaluations/test/predictions").iterdir())) == result["windows"]


def test_without_images_only_image_metrics_are_unavailable(lines, prepared, write_lines):
    metrics = scored(write_lines(lines), prepared, "mse", "bleu", "ssim").result["metrics"]
    assert list(metrics) == ["mse", "bleu", "ssim"]
    assert metrics["mse"]["unavailable"].startswith("mse: reads images, and ")
    assert "unavailable" in metrics["ssim"]
    assert "value" in metrics["bleu"]


def test_without_texts_only_text_metrics_are_unavailable(lines, prepared, write_lines, tmp_path):
    pictured = with_pictures(lines, prepared, tmp_path)
    path = write_lines([{key: value for key, value in line.items() if key != "text"} for line in pictured])
    metrics = scored(path, prepared, "mse", "bleu").result["metrics"]
    assert metrics["bleu"]["unavailable"].startswith("bleu: reads texts, and ")
    assert metrics["mse"]["value"] == 0


def test_a_missing_window_is_counted_and_needs_allow_missing(lines, prepared, write_lines):
    path = write_lines(lines[:-2])
    total = scored(write_lines(lines), prepared).result["windows"]
    path = write_lines(lines[:-2])
    with pytest.raises(VsrError, match=rf"2 of {total} windows are missing \(the first: story '.*', window \d+\)"):
        scored(path, prepared)
    result = scored(path, prepared, allow_missing=True).result
    assert (result["missing"], result["windows"]) == (2, total - 2)
    assert "|missing:2|" in result["signature"]


def test_a_leaking_window_is_not_scored_and_needs_no_prediction(lines, prepared, write_lines, data):
    windows = prepared.windows("test")
    text_rows = windows.text_rows.copy()
    text_rows[0, 4] = text_rows[0, 1]
    leaking = open_prepared(data)
    leaking._windows["test"] = replace(windows, text_rows=text_rows)
    result = scored(write_lines(lines[1:]), leaking).result
    assert result["leaks"]["target_text_in_context"] == 1
    assert result["missing"] == 0


def line(**changes):
    return lambda lines: [{**lines[0], **changes}, *lines[1:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lines: [*lines, lines[2], lines[3]],
            r"2 lines of a window that an earlier line predicts",
        ),
        (line(story="nobody"), r"1 line of a window that is not in the split \(the first: line 1\)"),
        (line(window=77), r"1 line of a window that is not in the split"),
        (line(window="0"), "line 1: window is not a whole number"),
        (line(window=True), "line 1: window is not a whole number"),
        (line(story=7), "line 1: story is not a string"),
        (line(text=["a"]), "line 1: text is not a string"),
        (line(text=None), "1 line without text"),
        (line(image="absent.png"), "1 line with an image that does not exist"),
        (line(image="../absent.png"), "line 1: image is outside of the folder"),
        (lambda lines: [[1]], "line 1: is not a JSON object"),
        (lambda lines: [], "has no prediction"),
        (lambda lines: [{key: each[key] for key in ("story", "window")} for each in lines], "neither a text nor an"),
    ],
)
def test_an_error_in_the_file_is_one_line(lines, prepared, write_lines, change, said):
    path = write_lines(change(lines))
    with pytest.raises(VsrError, match=said) as caught:
        scored(path, prepared)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_json_or_not_text_is_one_line(prepared, tmp_path):
    path = tmp_path / "theirs.jsonl"
    for content, said in ((b"{'story': 1}\n", "line 1: is not JSON"), (b"\xff\xfe\n", "is not UTF-8")):
        path.write_bytes(content)
        with pytest.raises(VsrError, match=said):
            scored(path, prepared)
    with pytest.raises(VsrError, match="there is no such file"):
        scored(tmp_path / "absent.jsonl", prepared)


def test_a_damaged_image_is_one_line_and_nothing_is_written(lines, prepared, write_lines, tmp_path):
    path = write_lines(with_pictures(lines, prepared, tmp_path))
    (tmp_path / "pictures/3.png").write_bytes(b"no picture")
    with pytest.raises(VsrError, match=r"3\.png"):
        run_score(registry(), path, prepared.folder, "test", choices(), out=tmp_path / "out", allow_missing=False)
    assert not (tmp_path / "out").exists()


def test_external_scores_can_be_compared_and_reported(lines, prepared, write_lines, tmp_path):
    path = write_lines(lines)
    copied, _ = run_score(
        registry(), path, prepared.folder, "test", choices(), out=tmp_path / "copied", allow_missing=False
    )
    for each, (text,) in zip(lines, prepared.windows("test").text_rows[:, 4:].tolist(), strict=True):
        each["text"] = prepared.frames.texts[text]
    true, result = run_score(
        registry(), write_lines(lines), prepared.folder, "test", choices(), out=tmp_path / "true", allow_missing=False
    )
    found = run_compare(registry(), [copied, true], "test", [])
    assert [cell["scores"][1]["verdict"] for cell in found["metrics"].values()] == ["significantly better"] * 2
    assert found["configurations"] == {}
    assert result["metrics"]["rouge"]["value"] == pytest.approx(1)
    page, text = run_report(true, None, "test", most=600)
    assert "no image" not in text.read_text()
    assert "external predictions" in text.read_text()
    assert np.isclose(json.loads((true / "evaluations/test/result.json").read_text())["metrics"]["bleu"]["value"], 100)
    assert page.exists()


def test_existing_folders_are_not_overwritten(write_lines, lines, prepared, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("mine")

    def score_into_run():
        options = {"out": tmp_path / "run", "allow_missing": False}
        run_score(registry(), write_lines(lines), prepared.folder, "test", choices(), **options)

    with pytest.raises(VsrError, match="holds something other than scores"):
        score_into_run()
    (tmp_path / "run/evaluations").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    with pytest.raises(VsrError, match="is a run"):
        score_into_run()
