"""Evaluation of a model: targets stay hidden, baselines, upper bound and stored results."""

import json
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from vsr_cli.api import Component, Decoding, Options, Sample, VsrError
from vsr_cli.cli.predict import run_predict
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.config.resolve import Choice
from vsr_cli.data.prepared import open_prepared
from vsr_cli.data.prepared_types import Frames
from vsr_cli.data.shards import ArrayRows
from vsr_cli.evaluation.baselines import windows_of_other_stories
from vsr_cli.evaluation.evaluate import blur_caution, check_preparation, evaluate
from vsr_cli.evaluation.model_predictions import Part
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.evaluation.predictions import to_bytes
from vsr_cli.evaluation.storage import store_evaluation
from vsr_cli.files.atomic import read_json
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build
from vsr_cli.plugin.registry import Provided
from vsr_cli.runs.opening import open_run
from vsr_cli.runs.results import BETTER, FORMAT, NOT_SIGNIFICANT
from vsr_cli.workflows.evaluation import data_of, run_evaluate
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.settings import train_config
from vsr_cli.workflows.stories import prepare_config
from vsr_cli.workflows.training import run_train

SMALL = ["model.width=16", "visual.size=32", "text.channels=16", "text.vocabulary_size=500", "training.epochs=2"]


SMALL += ["text_decoder.length=24", "image_decoder.channels=16", "training.device=cpu", "training.batch_size=4"]


CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(prepare_ten_stories):
    """Prepare ten small stories, one window each, of which three are the test."""
    return prepare_ten_stories("data.image_size=32", "data.test=0.3", "data.window=first")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    manifest = open_prepared(data).manifest
    config = train_config(registry(), manifest=manifest, preset=None, config=None, flags={}, assignments=SMALL)
    return run_train(config, data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def model(run):
    """Make the model sensitive to its context; two epochs would not."""
    model = load_model(run, registry())
    torch.manual_seed(0)
    with torch.no_grad():
        for part in (model.temporal, model.text_decoder, model.image_decoder):
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture
def prepared(data):
    return open_prepared(data)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def metrics(*names):
    return resolve_metrics(registry(), names, [])


def evaluated(model, prepared, choices, split="test"):
    return evaluate(
        [Part(prepared, prepared, lambda: model)], prepared, split, choices, decoding=Decoding(), device=CPU
    )


def scored(model, prepared, *names):
    return evaluated(model, prepared, metrics(*names))


def outcome(evaluation):
    """Return the predictions without scores."""
    texts = [(item["story"], item["start"], item["prediction"]) for item in evaluation.predictions]
    return texts, [image.tobytes() for image in evaluation.images.gather(np.arange(len(texts)))]


def with_windows(prepared, windows):
    prepared._windows["test"] = windows
    return prepared


def with_frames(prepared, images, texts):
    prepared.__dict__["frames"] = Frames(ArrayRows(images), texts)
    return prepared


def all_images(prepared):
    return prepared.frames.images.gather(np.arange(len(prepared.frames.images)))


@pytest.mark.parametrize(
    ("verdict", "sharpness", "warns"),
    [(BETTER, 0.53, True), (BETTER, 0.8, False), (NOT_SIGNIFICANT, 0.53, False), (None, 0.53, False)],
)
def test_a_better_error_of_blurred_images_is_warned_of(verdict, sharpness, warns):
    results = {"mse": {"baselines": {"copy-last": {"verdict": verdict}}}, "sharpness": {"value": sharpness}}
    found = blur_caution(results)
    assert (found is not None) == warns
    assert not warns or "sharpness 0.53 of the targets'" in found


def test_without_sharpness_or_error_there_is_no_warning_of_blur():
    assert blur_caution({"sharpness": {"value": 0.1}}) is None
    assert blur_caution({"mse": {"unavailable": "mse: reads images"}, "sharpness": {"value": 0.1}}) is None
    assert blur_caution({"mse": {"baselines": {"copy-last": {"verdict": BETTER}}}}) is None


def test_the_model_reads_its_context(model, prepared, data):
    # Without this, the tests below would hold for a model that reads nothing at all.
    before = outcome(scored(model, prepared, "mse"))
    changed = with_frames(open_prepared(data), 255 - all_images(prepared), prepared.frames.texts[::-1])
    after = outcome(scored(model, changed, "mse"))
    assert before[1] != after[1]
    assert [item[2] for item in before[0]] != [item[2] for item in after[0]]


def test_permuting_the_targets_changes_no_prediction_by_a_byte(model, prepared, data):
    before = scored(model, prepared, "bleu", "mse")
    windows = open_prepared(data).windows("test")
    image_rows, text_rows = windows.image_rows.copy(), windows.text_rows.copy()
    image_rows[:, 4], text_rows[:, 4] = np.roll(image_rows[:, 4], 1), np.roll(text_rows[:, 4], 1)
    moved = with_windows(open_prepared(data), replace(windows, image_rows=image_rows, text_rows=text_rows))
    after = scored(model, moved, "bleu", "mse")
    assert outcome(after) == outcome(before)
    assert after.result["metrics"]["mse"]["value"] != before.result["metrics"]["mse"]["value"]
    assert [item["reference"] for item in after.predictions] != [item["reference"] for item in before.predictions]


def test_corrupting_the_targets_changes_no_prediction_by_a_byte(model, prepared, data):
    before = scored(model, prepared, "mse")
    windows, images, texts = prepared.windows("test"), all_images(prepared), list(prepared.frames.texts)
    assert not set(windows.image_rows[:, 4]) & set(windows.image_rows[:, :4].flat)
    images[windows.image_rows[:, 4]] = np.random.default_rng(0).integers(0, 256, images.shape[1:], dtype=np.uint8)
    for number, row in enumerate(windows.text_rows[:, 4]):
        texts[row] = f"nonsense {number} " * 50
    after = scored(model, with_frames(open_prepared(data), images, texts), "mse")
    assert outcome(after) == outcome(before)
    assert all(item["reference"].startswith("nonsense") for item in after.predictions)


def test_windows_are_predicted_longest_context_first_and_returned_in_their_order(model, prepared, monkeypatch):
    monkeypatch.setattr("vsr_cli.evaluation.predictions.BATCH", 1)
    seen, predict = {}, model.predict

    def record(context, decoding):
        found = predict(context, decoding)
        seen[tuple(context.texts[0])] = found.texts[0], to_bytes(found.images)[0]
        return found

    monkeypatch.setattr(model, "predict", record)
    windows = prepared.windows("test")
    found = scored(model, with_windows(prepared, windows.take(np.arange(len(windows))[::-1])), "mse")
    lengths = [sum(map(len, texts)) for texts in seen]
    assert lengths == sorted(lengths, reverse=True)
    contexts = [tuple(prepared.frames.texts[row] for row in rows[:-1]) for rows in found.windows.text_rows.tolist()]
    assert contexts != list(seen)
    assert [line["prediction"] for line in found.predictions] == [clean_text(seen[each][0]) for each in contexts]
    assert np.array_equal(found.images.gather(np.arange(len(contexts))), [seen[each][1] for each in contexts])


def test_a_leaking_window_is_neither_scored_nor_predicted(model, prepared):
    windows = prepared.windows("test")
    text_rows = windows.text_rows.copy()
    text_rows[1, 4] = text_rows[1, 2]
    found = scored(model, with_windows(prepared, replace(windows, text_rows=text_rows)), "mse")
    assert found.result["leaks"]["target_text_in_context"] == 1
    assert found.result["windows"] == len(found.predictions) == len(windows) - 1
    assert windows.stories[1] not in {item["story"] for item in found.predictions}


def test_a_split_where_every_window_leaks_is_refused(model, prepared):
    windows = prepared.windows("test")
    repeated = np.ones_like(windows.repeated)
    with pytest.raises(VsrError, match=r"no window of the test split can be scored \(left out: 3 padded\)"):
        scored(model, with_windows(prepared, replace(windows, repeated=repeated)), "mse")


@pytest.mark.parametrize("name", ["mse", "bleu", "rouge"])
def test_copy_last_equals_the_last_frame_scored_by_hand(model, prepared, name):
    cell = scored(model, prepared, name).result["metrics"][name]
    windows, frames = prepared.windows("test"), prepared.frames
    images = frames.images.gather(windows.image_rows)
    texts = [[clean_text(frames.texts[row]) for row in rows] for rows in windows.text_rows]
    samples = [
        Sample(
            story=story,
            context_texts=tuple(words[:4]),
            predicted_text=words[3],
            reference_text=words[4],
            predicted_image=five[3],
            reference_image=five[4],
        )
        for story, words, five in zip(windows.stories, texts, images, strict=True)
    ]
    (choice,) = metrics(name)
    metric = build(choice.provided, choice.options)
    assert cell["baselines"]["copy-last"]["value"] == metric.combine(metric.measure(samples))[name]
    if name == "mse":
        by_hand = np.mean(((images[:, 3].astype(float) - images[:, 4]) / 255) ** 2)
        assert cell["baselines"]["copy-last"]["value"] == pytest.approx(by_hand, rel=1e-6)


def test_shuffled_context_equals_predictions_from_other_stories_contexts(model, prepared, data):
    found = scored(model, prepared, "rouge", "mse")
    windows = found.windows
    others = windows_of_other_stories(windows.stories)
    image_rows, text_rows = windows.image_rows.copy(), windows.text_rows.copy()
    image_rows[:, :4], text_rows[:, :4] = image_rows[others, :4], text_rows[others, :4]
    swapped = with_windows(open_prepared(data), replace(windows, image_rows=image_rows, text_rows=text_rows))
    again = scored(model, swapped, "rouge", "mse")
    assert len(again.windows) == len(windows)
    assert outcome(again) != outcome(found)
    for name, cell in found.result["metrics"].items():
        assert cell["baselines"]["shuffled-context"]["value"] == again.result["metrics"][name]["value"]


def test_the_upper_bound_is_the_truncated_target_and_references_are_whole(model, prepared):
    found = scored(model, prepared, "rouge", "mse")
    references = [clean_text(prepared.frames.texts[row]) for row in found.windows.text_rows[:, 4]]
    assert [item["reference"] for item in found.predictions] == references
    cut = model.text_decoder.tokenize(references).ids
    longer = [
        len(text) > len(short) for text, short in zip(references, model.text_decoder.detokenize(cut), strict=True)
    ]
    assert any(longer)
    assert found.result["truncated_references"] == np.mean(longer)
    assert found.result["metrics"]["mse"]["upper_bound"] == 0
    assert found.result["metrics"]["rouge"]["value"] < found.result["metrics"]["rouge"]["upper_bound"] < 1


def test_the_teacher_forced_block_is_per_token_and_separate_from_the_scores(model, prepared):
    result = scored(model, prepared, "mse").result
    block = result["teacher_forced"]
    windows = scored(model, prepared, "mse").windows
    texts = [prepared.frames.texts[row] for row in windows.text_rows[:, 4]]
    assert block["tokens"] == model.text_decoder.tokenize(texts).mask.sum()
    assert block["perplexity"] == pytest.approx(np.exp(block["losses"]["text"]))
    per_word = block["losses"]["text"] * block["tokens"] / block["words"]
    assert block["perplexity_per_word"] == pytest.approx(np.exp(per_word))
    assert set(block["losses"]) == {"loss", "text", "image", "alignment"}
    assert "mode:teacher-forced" in block["signature"]
    assert "teacher" not in json.dumps(result["metrics"])


def test_a_loss_without_weight_is_not_reported(model, prepared, monkeypatch):
    monkeypatch.setattr(model, "objective", model.objective.model_copy(update={"alignment": 0.0}))
    losses = scored(model, prepared, "mse").result["teacher_forced"]["losses"]
    assert set(losses) == {"loss", "text", "image"}
    assert losses["loss"] == pytest.approx(losses["text"] + losses["image"])


def test_a_decoder_that_selects_texts_has_no_perplexity(model, prepared, monkeypatch):
    monkeypatch.setattr(type(model.text_decoder), "models_text", False, raising=False)
    block = scored(model, prepared, "mse").result["teacher_forced"]
    assert block["perplexity"] is None
    assert block["perplexity_per_word"] is None
    assert block["losses"]["text"] > 0


def test_every_score_carries_the_whole_signature(model, prepared):
    result = scored(model, prepared, "bleu", "cosine-image").result
    for name, cell in result["metrics"].items():
        assert cell["signature"].startswith(f"metric:{name}|")
        assert cell["signature"].endswith(result["signature"])
    assert "tok:13a" in result["metrics"]["bleu"]["signature"]


def test_the_stored_statistics_reproduce_the_scores(model, prepared, tmp_path):
    found = scored(model, prepared, "bleu", "mse", "mrr-image")
    folder = tmp_path / "evaluations/test"
    store_evaluation(folder, found, {"run": "", "data": "", **found.result})
    stored = read_json(folder / "result.json", what="a result")
    assert stored == {"format": FORMAT, "run": "", "data": "", **found.result}
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    kept = load_file(folder / "statistics.safetensors")
    for choice in metrics("bleu", "mse", "mrr-image"):
        metric, cell = build(choice.provided, choice.options), found.result["metrics"][choice.name]
        assert metric.combine(kept[f"{choice.name}/model"])[choice.name] == cell["value"]
        assert metric.combine(kept[f"{choice.name}/upper_bound"])[choice.name] == cell["upper_bound"]
        for baseline, baseline_cell in cell["baselines"].items():
            assert metric.combine(kept[f"{choice.name}/{baseline}"])[choice.name] == baseline_cell["value"]
        by_window = [metric.combine(row[None])[choice.name] for row in kept[f"{choice.name}/model"]]
        assert [line["scores"][choice.name] for line in lines] == by_window
    assert [(line["story"], line["context"]) for line in lines] == [(s, [1, 2, 3, 4]) for s in found.windows.stories]
    leaks = (folder / "leaks.jsonl").read_text().splitlines()
    assert len(leaks) == found.result["leaks"]["left_out"] == len(prepared.windows("test")) - len(lines)
    pictures = sorted(path.name for path in (folder / "predictions").iterdir())
    assert pictures == [f"{row:04d}.jpg" for row in range(len(lines))]


def test_the_baselines_of_mrr_with_and_without_training_windows(model, prepared):
    full = scored(model, prepared, "mrr-image").result["metrics"]["mrr-image"]["baselines"]
    first = ["copy-last", "best-context", "nearest-neighbor", "mean", "shuffled-context"]
    assert list(full) == [*first, "mean-context", "copy-last-centred", "mean-context-centred"]
    none = prepared.windows("train").take(np.empty(0, np.int64))
    prepared._windows["train"] = none
    bare = scored(model, prepared, "mrr-image").result["metrics"]["mrr-image"]["baselines"]
    assert list(bare) == [*first, "mean-context"]
    assert "no training windows" in bare["nearest-neighbor"]["unavailable"]
    assert bare["nearest-neighbor"] == bare["mean"]


@pytest.mark.slow
def test_a_model_that_uses_its_context_beats_shuffled_context(tmp_path):
    made = ["dataset.stories=80", "dataset.width=96", "dataset.height=48", "data.image_size=32", "data.test=0.2"]
    config = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=made)
    data = run_prepare(config, None, tmp_path / "data").folder
    settings = [*SMALL, "model.width=128", "image_decoder.channels=32", "text_decoder.length=8", "training.epochs=8"]
    manifest = open_prepared(data).manifest
    config = train_config(registry(), manifest=manifest, preset=None, config=None, flags={}, assignments=settings)
    run = run_train(config, data, tmp_path / "run")
    cell = run_evaluate(registry(), run, data, "test", metrics("mse"))["metrics"]["mse"]
    shuffled = cell["baselines"]["shuffled-context"]
    assert shuffled["value"] > cell["value"]
    assert shuffled["verdict"] == "significantly better"
    assert shuffled["ci95"][1] < 0


def lacks_its_data(options):
    raise VsrError("metric needy: its word list is not here (words.txt); get it with 'fetch words'")


def test_a_metric_that_cannot_run_is_unavailable_with_a_remedy(model, prepared, monkeypatch):
    monkeypatch.setattr("vsr_plugins.metrics.pixels.lacks_its_data", lacks_its_data, raising=False)
    component = Component(
        name="needy", summary="none", build="vsr_plugins.metrics.pixels:lacks_its_data", options=Options
    )
    needy = Choice(Provided("metrics", component, "needy", "nobody 1.0"), Options())
    before, after = metrics("mse", "bleu")
    result = evaluated(model, prepared, [before, needy, after]).result
    assert list(result["metrics"]) == ["mse", "needy", "bleu"]
    assert result["metrics"]["needy"] == {
        "unavailable": "metric needy: its word list is not here (words.txt); get it with 'fetch words'"
    }
    assert result["metrics"]["mse"]["value"] > 0
    assert "value" in result["metrics"]["bleu"]


def test_the_signature_lists_what_the_scores_depend_on(model, prepared):
    result = scored(model, prepared, "mse").result
    facts = dict(item.split(":", 1) for item in result["signature"].split("|"))
    assert facts["mode"] == "free-running"
    assert (facts["split"], facts["stories"], facts["windows"], facts["window"]) == ("test", "3", "3", "first")
    assert facts["data"] == prepared.fingerprint[:12]
    assert (facts["resize"], facts["splitby"], facts["splitseed"]) == ("stretch", "auto", "0")
    assert facts["decoding.method"] == "greedy"


@pytest.mark.parametrize(("size", "resize"), [(96, "stretch"), (32, "letterbox"), (96, "crop")])
def test_data_of_another_image_size_or_resize_is_refused_with_a_remedy(run, prepared, size, resize):
    check_preparation(prepared, run.config())
    with pytest.raises(VsrError) as error:
        check_preparation(prepared, {"data": {"image_size": size, "resize": resize, "context_frames": 4}})
    assert "prepared at 32 pixels by stretch" in str(error.value)
    assert str(error.value).endswith(f"; prepare it with --resize {resize} --set data.image_size={size}")


@pytest.fixture
def story_folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(1, 5):
        Image.new("RGB", (40, 30), (60 * number, 20, 90)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"Mara opens box {number}.")
    return folder


@pytest.mark.usefixtures("no_network")
def test_a_moved_run_evaluates_and_predicts_the_same_without_network(run, data, tmp_path, story_folder, capsys):
    moved = open_run(shutil.copytree(run.folder, tmp_path / "elsewhere" / "run"))
    data_there = shutil.copytree(data, tmp_path / "other data")
    results, predicted = [], []
    for each, folder in ((run, data_of(run, None)), (moved, data_there)):
        result = run_evaluate(registry(), each, folder, "test", metrics("bleu", "mse"))
        results.append({name: value for name, value in result.items() if name not in ("run", "data")})
        written = each.folder / "evaluations" / "test"
        assert read_json(written / "result.json", what="a result") == result
        assert (written / "storyboards.png").stat().st_size > 0
        out = tmp_path / f"predicted {len(predicted)}"
        assert run_predict(registry(), each, [story_folder], out, decoding=Decoding(), as_json=True) == []
        (record,) = out.glob("*/prediction.json")
        predicted.append((json.loads(record.read_text())["text"], record.with_name("image.png").read_bytes()))
    assert results[0] == results[1]
    assert predicted[0] == predicted[1]
    assert str(run.folder) not in (moved.folder / "config.json").read_text()


def test_missing_training_data_is_an_error_that_names_data(run, tmp_path):
    moved = open_run(shutil.copytree(run.folder, tmp_path / "run"))
    moved.update(data=str(tmp_path / "gone"))
    with pytest.raises(VsrError, match="--data DIR"):
        data_of(moved, None)
    assert data_of(moved, tmp_path) == tmp_path


def test_predictions_are_stored_as_written_and_normalized(model, prepared, monkeypatch):
    written = "“Don’t go,” says Ana – the dogs’ friend."
    monkeypatch.setattr(type(model.text_decoder), "detokenize", lambda self, ids: [written] * len(ids))
    monkeypatch.setattr("vsr_cli.evaluation.predictions.shown_text", lambda decoder, text, context: text.strip())
    for line in scored(model, prepared, "mse").predictions:
        assert line["text"] == written
        assert line["prediction"] == clean_text(written) != written
