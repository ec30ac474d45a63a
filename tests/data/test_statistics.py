import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from vsr_cli.api import Frame, Story, VsrError
from vsr_cli.config.experiment import resolve_metrics, resolve_prepare
from vsr_cli.config.resolve import Layer, parse_set
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.data.splits import SPLITS
from vsr_cli.data.statistics import count_words_and_marks, measure, summary, token_counter, words_of
from vsr_cli.evaluation import baselines
from vsr_cli.evaluation.baselines import copy_last_scores
from vsr_cli.plugin.discovery import registry
from vsr_cli.report.dataset_charts import draw_statistics

CHOSEN = {"dataset": {"name": "storyworld"}, "visual": {"name": "tiny-cnn"}, "text": {"name": "tiny-text"}}


class Fake:
    def __init__(self, *stories):
        self.stories = stories

    def read(self, source):
        yield from self.stories

    def describe(self, source):
        return {"source": "memory"}


def png(*seed, size=(24, 12)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def story(name, *texts, size=(24, 12), **facts):
    frames = [Frame(image=png(*name.encode(), at, size=size), text=text) for at, text in enumerate(texts)]
    return Story(id=name, frames=tuple(frames), **facts)


def with_image(told, index, image):
    frames = list(told.frames)
    frames[index] = replace(frames[index], image=image)
    return replace(told, frames=tuple(frames))


def prepared(folder, *stories, options=()):
    defaults = ["data.image_size=16", "data.window=sliding", "data.test=0", "data.validation=0"]
    config = resolve_prepare(
        registry(), preset="tiny", layers=[Layer("test", CHOSEN), *parse_set([*defaults, *options])]
    )
    found, _ = prepare_stories(config, Fake(*stories), None, folder / "out")
    assert found is not None
    return found


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


def test_words_and_marks_are_those_of_bert(tmp_path):
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
    told = story("a", "w " * 32, "w " * 33, "w " * 64, "w " * 65, "w " * 200)
    assert numbers(tmp_path, told)["all"]["longer_than"] == {"32": 0.8, "64": 0.4, "128": 0.2}


def test_words_of_the_held_out_split_that_train_lacks(tmp_path):
    found = numbers(tmp_path, A, T)
    # Of bo, runs, far, yawns train has two; of the 12 words it lacks bo (five times) and yawns.
    assert (found["test"]["words"], found["test"]["distinct_words"]) == (12, 4)
    assert found["test"]["distinct_words_not_in_train"] == 0.5
    assert found["test"]["words_not_in_train"] == 0.5
    assert found["test"]["distinct_words_seen_once"] == 0.25
    assert found["train"]["words_not_in_train"] is found["all"]["words_not_in_train"] is None
    assert found["validation"]["words_not_in_train"] is None


def test_where_train_has_no_words_nothing_is_said_of_what_it_lacks(tmp_path):
    found = numbers(tmp_path, A, options=["data.split=test"])
    assert found["test"]["words"] == 14
    assert found["test"]["words_not_in_train"] is None


def test_repetition_of_neighbours_and_of_targets(tmp_path):
    told = with_image(A, 3, A.frames[2].image)
    found = numbers(tmp_path, told, T)
    assert found["train"]["same_text_as_before"] == 0
    assert found["train"]["same_image_as_before"] == 0.2
    assert found["test"]["same_text_as_before"] == 0.25
    assert found["test"]["target_text_in_context"] == 1
    assert found["all"]["target_text_in_context"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["all"]["target_image_in_context"] == 0


def test_a_gap_is_no_neighbour(tmp_path):
    told = with_image(with_image(story("a", *["Same."] * 8), 0, None), 2, None)
    found = numbers(tmp_path, told)["all"]
    assert found["same_text_as_before"] == 1
    assert found["same_image_as_before"] == 0
    assert found["images"] == 6


def test_sizes_are_those_of_the_distinct_pictures_in_the_source(tmp_path):
    found = numbers(tmp_path, with_image(A, 5, A.frames[0].image), T)
    assert found["all"]["images"] == 10
    assert found["all"]["image_size"] == {"width": 24, "height": 12, "share": 0.5}
    assert found["all"]["image_width"] == {"least": 24, "median": 27, "mean": 27, "greatest": 30}
    assert found["test"]["image_proportion"]["mean"] == 1.5
    assert found["validation"]["image_size"] is None


def test_markup_is_what_the_source_has_beyond_the_texts(tmp_path):
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


def test_a_real_tokenizer_counts_whole_texts_with_its_special_tokens(tmp_path):
    word_level(tmp_path / "tokenizer.json")
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        assert token_counter(place)(["one two three four", ""]) == [6, 2]


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {}}', "\xff"])
def test_what_is_no_tokenizer_is_one_line(tmp_path, content):
    (tmp_path / "t.json").write_text(content, encoding="latin-1")
    with pytest.raises(VsrError, match=r"--tokenizer .*not a tokenizer.json") as raised:
        token_counter(tmp_path / "t.json")
    assert "\n" not in str(raised.value)
    with pytest.raises(VsrError, match="no such file"):
        token_counter(tmp_path)


def test_copying_is_scored_as_the_baseline_of_an_evaluation_is(tmp_path):
    found = prepared(tmp_path, A, T, story("b", "x y z w.", "a b c.", "d e f.", "g h i j.", "g h i j k."))
    scores = copy_last_scores(found, SPLITS, resolve_metrics(registry(), ["bleu", "rouge"], []))
    assert scores["test"] is None, "its only target is among its inputs"
    assert scores["validation"] is None
    assert scores["train"] == scores["all"]
    assert scores["train"]["windows"] == 3
    # Ana rests/barks and sleeps share one word of two or three, the others four of four and five.
    assert 0.4 < scores["train"]["rouge"] < 0.8


def test_of_many_windows_some_are_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_COPIED", 4)
    found = prepared(tmp_path, story("a", *(f"Word {number} comes." for number in range(20))))
    scores = copy_last_scores(found, SPLITS, resolve_metrics(registry(), ["bleu"], []))
    assert scores["all"]["windows"] == 4


@pytest.mark.parametrize("told", [(A, T), (T,)], ids=["two splits", "one"])
def test_the_picture_is_drawn_and_the_same_each_time(tmp_path, told):
    found = prepared(tmp_path, *told)
    measures = measure(found, count_words_and_marks)
    of = {name: {**each, "copy_last": None} for name, each in summary(measures).items()}
    for name in ("one.png", "two.png"):
        draw_statistics(measures, of, title="it costs $5 and $6", counted="tokens", path=tmp_path / name)
    assert Image.open(tmp_path / "one.png").size == (1650, 1012)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
