"""Stories in several languages: prepare, `vsr data stats` and scoring."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from vsr_cli.cli.data.stats import run_stats
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.config.resolve import parse_set
from vsr_cli.data.prepared import Prepared, open_prepared
from vsr_cli.evaluation.external_predictions import read_external, score_external, windows_of
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config

WORDS = {
    "zh": "小 狐狸 跑 过 山坡 看见 月亮 雨 落 在 老 石头 上 我们 的 房子 靠近 大海 他 笑 了",
    "hi": "लोमड़ी पहाड़ी पर दौड़ी और उसने चाँद देखा बारिश पुराने पत्थरों पर गिरी हमारा घर समुद्र के पास है",
    "emoji": "😀 🦊 🌧️ 👨\u200d👩\u200d👧 🏠 🌊 ❤️ 🇫🇷 👍🏽 🎉 🐕 🌙",
    "symbols": "→ ⇒ ∑ ± ÷ ≈ ≠ ∞ √ ∂ ⊂ ∩",
}


COUNTED = {"zh": 1.5, "hi": 1, "emoji": 1, "symbols": 0}
"""Words counted for a word above; Chinese ones are of one character or two."""


METRICS = ["bleu", "rouge", "meteor", "chrf", "cider", "distinct-1", "rep-4", "context-overlap-4"]


@pytest.fixture(scope="module", params=WORDS)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Six stories of five frames, twelve words each."""
    language, pick = str(request.param), random.Random(0)
    folder = tmp_path_factory.mktemp(language)
    between = "" if language == "zh" else " "
    for story in range(6):
        story_folder = folder / f"stories/{story}"
        story_folder.mkdir(parents=True)
        for frame in range(5):
            colour = tuple(pick.randrange(256) for _ in range(3))
            Image.effect_noise((16, 16), 99).convert("RGB").point(lambda v, c=colour: (v + c[0]) % 256).save(
                story_folder / f"{frame}.png"
            )
            text = between.join(pick.choices(WORDS[language].split(), k=12))
            (story_folder / f"{frame}.txt").write_text(text, encoding="utf-8")
    made = ["data.image_size=16", "data.test=0.5", "data.validation=0"]
    config = prepare_config(registry(), dataset="folder", preset="tiny", flags={}, assignments=made)
    prepared = open_prepared(run_prepare(config, str(folder / "stories"), folder / "data").folder)
    return SimpleNamespace(language=language, folder=folder, prepared=prepared)


def score(prepared: Prepared, folder: Path, *, assignments: Sequence[str] = ()) -> dict:
    windows, frames = prepared.windows("test"), prepared.frames
    lines = [
        {"story": story, "window": int(start), "text": frames.texts[row[4]]}
        for story, start, row in zip(windows.stories, windows.starts, windows.text_rows.tolist(), strict=True)
    ]
    path = folder / "theirs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    choices = resolve_metrics(registry(), METRICS, parse_set(assignments))
    given = read_external(path, windows_of(prepared, "test"))
    return score_external(given, prepared, "test", choices, allow_missing=False).result


def test_the_targets_themselves_score_highest_and_copying_does_not(corpus: SimpleNamespace) -> None:
    cells = score(corpus.prepared, corpus.folder)["metrics"]
    if corpus.language == "symbols":
        assert {name for name, cell in cells.items() if "unavailable" not in cell} == {"bleu", "chrf"}
        assert "hold no word" in cells["rouge"]["unavailable"]
        return
    for name, highest in {"bleu": 100, "rouge": 1, "meteor": 1, "chrf": 100, "cider": 10}.items():
        assert cells[name]["value"] == pytest.approx(highest, rel=0.01), name
        assert cells[name]["upper_bound"] == pytest.approx(highest, rel=0.01), name
        assert cells[name]["caution"] is None
        assert cells[name]["baselines"]["copy-last"]["value"] < 0.8 * highest, name
    assert 0 < cells["distinct-1"]["value"] < 1
    assert cells["distinct-1"]["caution"] is None


def test_a_metric_that_cannot_measure_the_references_warns(corpus: SimpleNamespace) -> None:
    cell = score(corpus.prepared, corpus.folder, assignments=["metrics.bleu.tokenize=none"])["metrics"]["bleu"]
    if corpus.language != "zh":
        assert cell["caution"] is None
        return
    assert cell["caution"].startswith("bleu: the references score only 0 of 100 against themselves")
    assert "\n" not in cell["caution"]


def test_words_are_counted_in_every_language(corpus: SimpleNamespace) -> None:
    options = {"dataset": None, "flags": {}, "assignments": []}
    found = run_stats(registry(), str(corpus.prepared.folder), tokenizer=None, out=corpus.folder / "s.png", **options)
    counted = found["splits"]["all"]
    assert counted["words_per_frame"]["mean"] == pytest.approx(12 * COUNTED[corpus.language], rel=0.2)
    assert (counted["distinct_words"] > 10) == (corpus.language != "symbols")
    copied = found["splits"]["test"]["copy_last"]
    assert (copied["rouge"] is None) == (corpus.language == "symbols")
