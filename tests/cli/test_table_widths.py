"""Every printed table at several terminal widths: complete numbers, complete names, no line too long."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

from vsr_cli import console
from vsr_cli.runs.results import BETTER, NOT_SIGNIFICANT, WORSE

WIDTHS = (60, 80, 120)
LONG = "2026-11-29_16-47-00_attention-gru-with-a-long-name"
LOSSES = {"loss": 1234.56789, "text": 12.3456, "image": 0.0345, "alignment": 4.1474, "next_frame": 2.5}


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch):
    """The width of both consoles, as a terminal or COLUMNS gives it."""
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", request.param)
    return request.param


@pytest.fixture
def shown(capsys, width):
    """Print by a function, check the lines and return them."""

    def show(printing, *arguments, wide=(), **options):
        capsys.readouterr()
        printing(*arguments, **options)
        out = capsys.readouterr().out
        assert "…" not in out
        lines = [line.rstrip() for line in out.splitlines()]
        # What is no table is one line, however long: it can be copied whole.
        assert [line for line in lines if cell_len(line) > width and not line.startswith(tuple(wide))] == []
        return lines

    return show


def words(lines):
    return " ".join(lines).split()


def holds(lines, name):
    """Whether a name is there, on one line or wrapped in its column."""
    name = name.replace(" ", "")
    for row, line in enumerate(lines):
        for found in re.finditer(re.escape(name[:4]), line):
            below = [each[found.start() :].split("  ")[0].replace(" ", "") for each in lines[row : row + 8]]
            if "".join(below).startswith(name):
                return True
    return False


def test_presets(shown):
    from vsr_cli.cli.config import presets

    found = words(shown(presets))
    assert {"tiny", "laptop", "reference", "strong", "371", "6.8"} <= set(found)


@pytest.mark.parametrize("kind", ["metric", "text-encoder"])
def test_plugins_list_and_show(shown, kind):
    from vsr_cli.cli.plugins.list import plugins_list
    from vsr_cli.cli.plugins.show import plugins_show
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.plugin.kinds import kind_of_word

    names = registry().names(kind_of_word(kind).section)
    assert set(names) <= set(words(shown(plugins_list, kind)))
    for name in names:
        entry = registry().find(kind_of_word(kind).section, name)
        lines = shown(plugins_show, name, wide=(name, "from "))
        options = entry.component.options.model_fields
        assert [option for option in options if not holds(lines, option)] == []
        for field in options.values():
            if isinstance(field.default, int | float) and not isinstance(field.default, bool):
                assert str(field.default) in words(lines)


def test_cache_list(shown, monkeypatch):
    from vsr_cli.cli.cache import cache_list
    from vsr_cli.data.cache import maintenance as cache_care
    from vsr_cli.data.cache.maintenance import CachedFeatures

    facts = {"row_shape": [32, 768], "tokens": True, "precision": "single"}
    name = "visual-0123456789abcdef0123456789abcdef-single"
    kept = [CachedFeatures(name=name, folder=Path("x"), facts=facts, shards=123, bytes=12_345 * 2**20, idle_days=123.4)]
    monkeypatch.setattr(cache_care, "list_feature_sets", lambda: kept)
    lines = shown(cache_list, wide=("/",))
    assert {"12.1", "123.4"} <= set(words(lines[1:]))
    assert holds(lines, name)


def history(count=3):
    return [
        {
            "epoch": epoch,
            "steps": 10 * epoch,
            "train": LOSSES,
            "validation": {name: value / epoch for name, value in LOSSES.items()},
            "learning_rate": 1.25e-3,
            "windows_per_second": 1234.5,
            "seconds": 3600.0,
        }
        for epoch in range(1, count + 1)
    ]


def summary(name, **further):
    from vsr_cli.runs.summary import RunSummary

    parts = {"visual": "mobilenet_v2", "text": "hf-text", "fusion": "cross-attention", "temporal": "attention-gru"}
    facts = {"started": "2026-11-29T16:17:18", "epochs_done": 12, "epochs_wanted": 20, "best_validation": 1234.5678}
    parts |= {"text_decoder": "transformer", "image_decoder": name[:9]}
    return RunSummary(folder=Path("runs") / name, status="interrupted", data="data/s", parts=parts, **facts, **further)


def test_runs_list(shown):
    from vsr_cli.cli.runs import list as runs

    listed = [summary(LONG), summary("lstm", problem="interrupted by SIGTERM")]
    lines = shown(lambda: console.out.print(runs._run_table(listed, width=console.out.width)))
    assert words(lines).count("12/20") == words(lines).count("1235") == 2
    assert holds(lines, LONG)
    assert words(lines).count("interrupted") == 2


def test_the_epochs_of_runs_show_and_of_training(shown):
    from vsr_cli.report.epochs import epoch_table

    rows = history()
    lines = shown(lambda: console.out.print(epoch_table(rows, epochs=3, best=rows[2], width=console.out.width)))
    found = words(lines)
    assert {"1/3", "2/3", "3/3"} <= set(found)
    assert found.count("1235") == 4  # the loss of each epoch, and the validation loss of the first
    assert "*" in found


def test_the_settings_of_runs_show(shown):
    from vsr_cli.cli.runs import show as runs
    from vsr_cli.runs.changes import Change

    changed = [
        Change(
            "text.model", "/home/someone/models/a-sentence-transformer-of-one-s-own", "sentence-transformers/MiniLM"
        ),
        Change("training.learning_rate", 0.00012345, 0.001),
    ]
    lines = shown(lambda: console.out.print(runs._change_table(changed, width=console.out.width)))
    assert {"0.00012345", "0.001"} <= set(words(lines))
    assert all(holds(lines, words) for words in (changed[0].value, changed[0].preset, changed[1].setting))


def test_prepare(shown):
    from vsr_cli.cli.prepare import show_prepared

    kept = {"train": 1_234_567, "validation": 123_456, "test": 123_456}
    counts = {"stories_kept": kept, "windows_kept": kept, "frames": 9, "images": 9, "texts": 9, "problems": {}}
    counts |= {"stories_dropped": {}, "windows_dropped": {}}
    manifest = {"counts": counts, "bytes": {"chunks": 2**30}}
    prepared = SimpleNamespace(folder=Path("data") / LONG, manifest=manifest, problems=list)
    lines = shown(show_prepared, prepared, wide=("prepared in", "9 frames"))
    assert words(lines).count("1,234,567") == 2
    assert words(lines).count("1,481,479") == 2


def test_data_lint_and_stats(shown, monkeypatch):
    from vsr_cli.cli.data.lint import Lint, show_problems
    from vsr_cli.cli.data.stats import show_stats
    from vsr_cli.data.lint import Problem

    problems = [Problem("target_text_in_context", f"story-{n}", 3, "d") for n in range(1200)]
    lines = shown(show_problems, Lint("s", problems), every=False, wide=("warning", "note", "error", "  "))
    assert "1,200" in words(lines)
    spread = {"least": 123.25, "median": 1234.5, "mean": 1, "greatest": 4096}
    numbers = dict.fromkeys(("stories", "frames", "windows", "words", "distinct_words", "images"), 1_234_567)
    ranges = (
        "frames_per_story",
        "words_per_frame",
        "tokens_per_frame",
        "image_width",
        "image_height",
        "image_proportion",
    )
    shares = ("markup_share", "distinct_words_seen_once", "distinct_words_not_in_train", "words_not_in_train")
    shares += ("same_text_as_before", "same_image_as_before", "target_text_in_context", "target_image_in_context")
    numbers |= dict.fromkeys(ranges, spread) | dict.fromkeys(shares, 0.123)
    numbers |= {"longer_than": {"32": 0.5, "64": 0.25, "128": None}, "copy_last": {"bleu": 12.345, "rouge": 0.5}}
    numbers |= {"image_size": {"width": 1920, "height": 1080, "share": 0.75}}
    splits = dict.fromkeys(("train", "validation", "test", "all"), numbers)
    record = {"source": "s", "tokens": "t", "splits": splits, "picture": "p"}
    lines = shown(show_stats, record, wide=("(a–b)",))
    assert words(lines).count("1,234,567") == 6 * 4
    assert words(lines).count("(123.25–4096)") == 6 * 4
    assert words(lines).count("1920x1080") == 4
    assert set(splits) <= set(words(lines))


def test_train_dry_run(shown):
    from vsr_cli.training.plan import Disk, Memory, PartSize, Plan
    from vsr_cli.workflows.dry_run import show_plan

    parts = [PartSize(part="image_decoder", component="resize-convolution-of-mine", trained=123_456_789, frozen=0)]
    plan = Plan(
        data=Path("data"),
        windows={"train": 5, "validation": 6},
        epochs=3,
        steps_per_epoch=1_234_567,
        windows_per_step=4,
        device="cpu",
        precision="fp32",
        parts=parts,
        features=[],
        disk=Disk(frozen_weights=10**9, trained_weights=10**8, optimizer=10**7),
        memory=Memory(weights=10**9, gradients=10**8, optimizer=10**7, activations=10**6),
        step_seconds=0.5,
        validation_seconds=7,
    )
    lines = shown(show_plan, plan, wide=("on data",))
    assert words(lines).count("123,456,789") == 2
    assert holds(lines, "resize-convolution-of-mine")
    assert {"954", "1234567"} <= set(words(lines))


BASELINES = ("copy-last", "best-context", "nearest-neighbor", "mean", "shuffled-context")
VERDICTS = (BETTER, WORSE, NOT_SIGNIFICANT, None, None)


def score(value):
    baselines = {
        name: {"value": value * 1.5 + number, "verdict": verdict}
        for number, (name, verdict) in enumerate(zip(BASELINES, VERDICTS, strict=True))
    }
    cell = {"value": value, "ci95": [value * 0.9, value * 1.1], "scale": "0-1", "better": "higher", "components": {}}
    return {**cell, "baselines": baselines, "upper_bound": 100.25}


METRICS = {
    "bleu": score(12.3456),
    "cosine-text": score(0.56789),
    "mse": score(0.00098765),
    "sharpness": score(1.25),
}


def test_evaluate(shown):
    from vsr_cli.report.score_table import score_table

    metrics = {**METRICS, "bertscore": {"unavailable": "no model is named"}}
    lines = shown(lambda: console.out.print(score_table(metrics, width=console.out.width)))
    found = words(lines)
    shown_words = {word.rstrip(":") for word in found}
    assert metrics.keys() <= shown_words
    # Long names take two lines.
    assert all(name in shown_words or {*name.replace("-", "- ").split()} <= shown_words for name in BASELINES)
    for cell in METRICS.values():
        between = "{:.3g}..{:.3g}".format(*cell["ci95"])
        assert {f"{cell['value']:.4g}", between} <= set(found)
        assert {f"{baseline['value']:.4g}" for baseline in cell["baselines"].values()} <= set(found)
    assert found.count("▲") == found.count("▼") == found.count("~") == len(METRICS)
    assert "unavailable" in found


@pytest.mark.parametrize("names", [["gru", "lstm"], [LONG, f"{LONG}-wider", "another-run-of-the-same-preset-seed-3"]])
def test_compare(shown, names):
    from vsr_cli.cli.compare import show_comparison

    verdicts = [{}] + [
        {"verdict": verdict, "difference": -0.0123, "difference_ci95": [-0.0234, 0.00123]}
        for verdict in (BETTER, WORSE, NOT_SIGNIFICANT)
    ]
    scores = [{"value": 0.45678, "ci95": [0.4321, 0.4765], **verdicts[at]} for at in range(len(names))]
    cell = {"better": "higher", "scale": "0-1", "scores": scores}
    settings = {"training.learning_rate": [0.00012345] * len(names), "temporal.name": ["attention-gru", "lstm", "x"]}
    result = {
        "split": "test",
        "stories": 60,
        "windows": 173,
        "cautions": [],
        "runs": [f"runs/{name}" for name in names],
        "metrics": {"bleu": cell, "cosine-text": cell},
        "not_compared": {},
        "configurations": {key: values[: len(names)] for key, values in settings.items()},
    }
    lines = shown(show_comparison, result, wide=("↑", "▲"))
    found = words(lines)
    assert found.count("0.4568") == 2 * len(names)
    assert found.count("-0.023..+0.0012") == 2 * (len(names) - 1)
    assert all(holds(lines, name) for name in names)
    assert "▲" in " ".join(line for line in lines if "-0.023" in line)
    assert found.count("0.00012345") == len(names)
    assert holds(lines, "cosine-text")


def test_the_leaky_protocol(shown):
    from vsr_cli.workflows.leaky import show_leaky

    opened = ["training", "padding", "teacher-forcing", "cut", "markup"]
    scores = dict.fromkeys(("bleu", "rouge", "meteor", "cosine-text", "mse"), 12.34567)
    example = {"prediction": "p", "reference": "r", "context": ["c"]}
    steps = [{"open": opened[at:], "windows": 173, "scores": scores, "example": example} for at in range(6)]
    record = {"steps": steps, "held_out": {"held_out": True}, "leaks": {}, "signature": "s"}
    lines = shown(show_leaky, record, Path("x"), wide=("NOT A RESULT", "signature"))
    assert words(lines).count("12.35") == 6 * 5
    assert words(lines).count("173") == 6


def test_ablate(shown):
    from vsr_cli.report.ablation import tables

    combination = {"label": "temporal=attention-gru, fusion=cross-attention, learning_rate=0.001", "seconds": 3600.0}
    combination |= {"seeds": [0, 1], "parameters": {"trained": 123_456_789}}
    scored = {"value": 12.3456, "ci95": [11.25, 13.25], "seeds": [0, 1], "baselines": {}}
    verdict = {"verdict": BETTER, "difference": 1.25, "difference_ci95": [0.25, 2.25]}
    metric = {"better": "higher", "scale": "0-1", "scores": [scored, {**scored, **verdict}, None]}
    result = {"combinations": [combination] * 3, "metrics": {"bleu": metric}, "seeds": [0, 1, 2]}

    def printing():
        for table in tables(result, width=console.out.width).values():
            console.out.print(table)

    lines = shown(printing)
    found = words(lines)
    assert found.count("123,456,789") == 3
    assert found.count("12.3") == 2
    assert "+0.25..+2.2" in found
    assert "▲" in found
    assert holds(lines, combination["label"])


def test_no_command_makes_a_table_by_itself():
    own = Path(console.__file__).parent
    making = [path for path in own.rglob("*.py") if re.search(r"\bTable\(", path.read_text(encoding="utf-8"))]
    assert {path.name for path in making} <= {"tables.py"}
