"""Statistics of prepared stories."""

import json
from dataclasses import replace

import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from vsr_cli.api import Frame, Story, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.splits import SPLITS
from vsr_cli.data.statistics import count_words_and_marks, measure, summary, token_counter, words_of
from vsr_cli.evaluation import baselines
from vsr_cli.evaluation.baselines import copy_last_scores
from vsr_cli.plugin.discovery import registry
from vsr_cli.report.dataset_charts import draw_statistics

from ..memory_dataset import noise_png, prepare_in_memory, with_frame


def story(name, *texts, size=(24, 12), **facts):
    frames = [Frame(image=noise_png(*name.encode(), at, size=size), text=text) for at, text in enumerate(texts)]
    return Story(id=name, frames=tuple(frames), **facts)


def prepared(folder, *stories, options=()):
    defaults = ["data.image_size=16", "data.window=sliding", "data.test=0", "data.validation=0"]
    return prepare_in_memory(folder / "out", *stories, assignments=[*defaults, *options])


def numbers(folder, *stories, options=()):
    return summary(measure(prepared(folder, *stories, options=options), count_words_and_marks))


A = story(
    "a", "Ana runs.", "Ana runs far.", "Ana rests.", "Ana runs.", "Ana's dog barks!", "Ana sleeps.", split="train"
)
T = story("t", "Bo runs.", "Bo runs.", "Bo runs far.", "Bo yawns.", "Bo runs far.", split="test", size=(30, 20))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, well-known friend!", ["don't", "stop", "well-known", "friend"]),
        ("the dogs' bones – 'quoted' 3.5", ["the", "dogs", "bones", "quoted", "3", "5"]),
        ("l’Été ÇA", ["l’été", "ça"]),
        ("… !", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text, words):
    assert words_of(text) == words


def test_words_and_punctuation_are_those_of_bert(tmp_path):
    assert count_words_and_marks(["Don't stop, friend!", "", "well-known"]) == [7, 0, 3]


def test_counts_and_ranges_of_each_split_and_of_all(tmp_path):
    found = numbers(tmp_path, A, T)
    assert {name: (of["stories"], of["frames"], of["windows"]) for name, of in found.items()} == {
        "train": (1, 6, 2),
        "validation": (0, 0, 0),
        "test": (1, 5, 1),
        "all": (2, 11, 3),
    }
    assert found["train"]["words_per_frame"] == {"least": 2, "median": 2, "mean": 2.3333, "greatest": 3}
    assert found["train"]["tokens_per_frame"]["greatest"] == 6
    assert found["all"]["frames_per_story"] == {"least": 5, "median": 5.5, "mean": 5.5, "greatest": 6}
    assert found["validation"]["words_per_frame"] is None
    assert found["validation"]["longer_than"] == {"32": None, "64": None, "128": None}
    json.dumps(found, allow_nan=False)


def test_the_share_of_long_texts_counts_those_over_the_limit(tmp_path):
    source = story("a", "w " * 32, "w " * 33, "w " * 64, "w " * 65, "w " * 200)
    assert numbers(tmp_path, source)["all"]["longer_than"] == {"32": 0.8, "64": 0.4, "128": 0.2}


def test_held_out_words_missing_in_train(tmp_path):
    found = numbers(tmp_path, A, T)
    # Of bo, runs, far, yawns train has two; of the 12 words it lacks bo (five times) and yawns.
    assert (found["test"]["words"], found["test"]["distinct_words"]) == (12, 4)
    assert found["test"]["distinct_words_not_in_train"] == 0.5
    assert found["test"]["words_not_in_train"] == 0.5
    assert found["test"]["distinct_words_seen_once"] == 0.25
    assert found["train"]["words_not_in_train"] is found["all"]["words_not_in_train"] is None
    assert found["validation"]["words_not_in_train"] is None


def test_without_training_words_missing_words_are_unknown(tmp_path):
    found = numbers(tmp_path, A, options=["data.split=test"])
    assert found["test"]["words"] == 14
    assert found["test"]["words_not_in_train"] is None


def test_repetition_of_neighbours_and_of_targets(tmp_path):
    source = with_frame(A, 3, image=A.frames[2].image)
    found = numbers(tmp_path, source, T)
    assert found["train"]["same_text_as_before"] == 0
    assert found["train"]["same_image_as_before"] == 0.2
    assert found["test"]["same_text_as_before"] == 0.25
    assert found["test"]["target_text_in_context"] == 1
    assert found["all"]["target_text_in_context"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["all"]["target_image_in_context"] == 0


def test_frames_across_a_gap_are_no_neighbors(tmp_path):
    source = with_frame(with_frame(story("a", *["Same."] * 8), 0, image=None), 2, image=None)
    found = numbers(tmp_path, source)["all"]
    assert found["same_text_as_before"] == 1
    assert found["same_image_as_before"] == 0
    assert found["images"] == 6


def test_sizes_are_those_of_distinct_source_images(tmp_path):
    found = numbers(tmp_path, with_frame(A, 5, image=A.frames[0].image), T)
    assert found["all"]["images"] == 10
    assert found["all"]["image_size"] == {"width": 24, "height": 12, "share": 0.5}
    assert found["all"]["image_width"] == {"least": 24, "median": 27, "mean": 27, "greatest": 30}
    assert found["test"]["image_proportion"]["mean"] == 1.5
    assert found["validation"]["image_size"] is None


def test_markup_share_counts_characters_beyond_texts(tmp_path):
    characters = sum(len(frame.text) for frame in A.frames)
    found = numbers(tmp_path, replace(A, source_characters=4 * characters), T)
    assert found["train"]["markup_share"] == found["all"]["markup_share"] == 0.75
    assert found["test"]["markup_share"] is None


def test_stories_in_no_split_are_left_out(tmp_path):
    assert numbers(tmp_path, A, T, story("short", "One.", "Two."))["all"] == numbers(tmp_path / "2", A, T)["all"]


def word_level(path):
    tokenizer = Tokenizer(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 0), ("[SEP]", 1)])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(path))


def test_tokenizer_counts_special_tokens(tmp_path):
    word_level(tmp_path / "tokenizer.json")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert token_counter(path)(["one two three four", ""]) == [6, 2]


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {}}', "\xff"])
def test_invalid_tokenizer_is_one_line(tmp_path, content):
    (tmp_path / "t.json").write_text(content, encoding="latin-1")
    with pytest.raises(VsrError, match=r"--tokenizer .*not a tokenizer.json") as raised:
        token_counter(tmp_path / "t.json")
    assert "\n" not in str(raised.value)
    with pytest.raises(VsrError, match="no such file"):
        token_counter(tmp_path)


def test_copy_last_scores_equal_the_evaluation_baseline(tmp_path):
    found = prepared(tmp_path, A, T, story("b", "x y z w.", "a b c.", "d e f.", "g h i j.", "g h i j k."))
    scores = copy_last_scores(found, SPLITS, resolve_metrics(registry(), ["bleu", "rouge"], []))
    assert scores["test"] is None, "its only target is among its inputs"
    assert scores["validation"] is None
    assert scores["train"] == scores["all"]
    assert scores["train"]["windows"] == 3
    # Ana rests/barks and sleeps share one word of two or three, the others four of four and five.
    assert 0.4 < scores["train"]["rouge"] < 0.8


def test_copy_last_scores_a_sample_of_many_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_COPIED", 4)
    found = prepared(tmp_path, story("a", *(f"Word {number} comes." for number in range(20))))
    scores = copy_last_scores(found, SPLITS, resolve_metrics(registry(), ["bleu"], []))
    assert scores["all"]["windows"] == 4


@pytest.mark.parametrize("source", [(A, T), (T,)], ids=["two splits", "one"])
def test_statistics_image_is_deterministic(tmp_path, source):
    found = prepared(tmp_path, *source)
    measures = measure(found, count_words_and_marks)
    of = {name: {**each, "copy_last": None} for name, each in summary(measures).items()}
    for name in ("one.png", "two.png"):
        draw_statistics(measures, of, title="it costs $5 and $6", counted="tokens", path=tmp_path / name)
    assert Image.open(tmp_path / "one.png").size == (1650, 1012)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
