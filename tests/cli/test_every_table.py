"""Every table that a command prints, on narrow terminals: no number is cut, no name vanishes, nothing sticks out."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

from vsr_cli import console

WIDTHS = (60, 80, 120)
LONG = "2026-11-29_16-47-00_attention-gru-with-a-long-name"
LOSSES = {"loss": 1234.56789, "text": 12.3456, "image": 0.0345, "alignment": 4.1474, "next": 2.5}


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch):
    """The width of both consoles, as a terminal or COLUMNS gives it."""
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", request.param)
    return request.param


@pytest.fixture
def shown(capsys, width):
    """Print by a function, and give the lines of the table, once they have been looked at."""

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
    from vsr_cli.commands.presets import presets

    found = words(shown(presets))
    assert {"tiny", "laptop", "reference", "strong", "371", "784"} <= set(found)


@pytest.mark.parametrize("kind", ["metric", "text-encoder"])
def test_plugins_list_and_show(shown, kind):
    from vsr_cli.commands.plugins import option_place, plugins_list, plugins_show
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.plugin.kinds import kind_of_word

    names = registry().names(kind_of_word(kind).section)
    assert set(names) <= set(words(shown(plugins_list, kind)))
    for name in names:
        entry = registry().find(kind_of_word(kind).section, name)
        lines = shown(plugins_show, name, wide=(name, "from "))
        options = entry.component.options.model_fields
        assert [option for option in options if not holds(lines, option_place(entry, option))] == []
        for field in options.values():
            if isinstance(field.default, int | float) and not isinstance(field.default, bool):
                assert str(field.default) in words(lines)


def test_cache_list(shown, monkeypatch):
    from vsr_cli.commands.cache import cache_list
    from vsr_cli.data import cache_care
    from vsr_cli.data.cache_care import Kept

    facts = {"row_shape": [32, 768], "tokens": True, "precision": "single"}
    name = "visual-0123456789abcdef0123456789abcdef-single"
    kept = [Kept(name=name, folder=Path("x"), facts=facts, shards=123, bytes=12_345 * 2**20, idle_days=123.4)]
    monkeypatch.setattr(cache_care, "kept_features", lambda: kept)
    lines = shown(cache_list, wide=("/",))
    assert {"12345", "123.4"} <= set(words(lines[1:]))
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
    from vsr_cli.report.runs import RunSummary

    parts = {"visual": "mobilenet_v2", "text": "hf-text", "fusion": "cross-attention", "temporal": "attention-gru"}
    facts = {"started": "2026-11-29T16:17:18", "epochs_done": 12, "epochs_wanted": 20, "best_validation": 1234.5678}
    parts |= {"text_decoder": "transformer", "image_decoder": name[:9]}
    return RunSummary(folder=Path("runs") / name, status="interrupted", data="data/s", parts=parts, **facts, **further)


def test_runs_list(shown):
    from vsr_cli.commands import runs

    listed = [summary(LONG), summary("lstm", problem="interrupted by SIGTERM")]
    lines = shown(lambda: console.out.print(runs._run_table(listed, width=console.out.width)))
    assert words(lines).count("12/20") == words(lines).count("1235") == 2
    assert holds(lines, LONG)
    assert words(lines).count("interrupted") == 2


def test_the_epochs_of_runs_show_and_of_training(shown):
    from vsr_cli.report.history import epoch_table

    rows = history()
    lines = shown(lambda: console.out.print(epoch_table(rows, epochs=3, best=rows[2], width=console.out.width)))
    found = words(lines)
    assert {"1/3", "2/3", "3/3"} <= set(found)
    assert found.count("1235") == 4  # the loss of each epoch, and the validation loss of the first
    assert "*" in found


def test_the_settings_of_runs_show(shown):
    from vsr_cli.commands import runs
    from vsr_cli.report.runs import Change

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
    from vsr_cli.commands.prepare import show_prepared

    kept = {"train": 1_234_567, "validation": 123_456, "test": 123_456}
    counts = {"stories_kept": kept, "windows_kept": kept, "frames": 9, "images": 9, "texts": 9, "problems": {}}
    counts |= {"stories_dropped": {}, "windows_dropped": {}}
    manifest = {"counts": counts, "bytes": {"chunks": 2**30}}
    prepared = SimpleNamespace(folder=Path("data") / LONG, manifest=manifest, problems=list)
    lines = shown(show_prepared, prepared, wide=("prepared in", "9 frames"))
    assert words(lines).count("1,234,567") == 2
    assert words(lines).count("1,481,479") == 2


def test_data_lint_and_stats(shown, monkeypatch):
    from vsr_cli.commands.data import Lint, show_problems
    from vsr_cli.commands.data_stats import show_stats
    from vsr_cli.data.lint import Problem

    problems = [Problem("target_text_in_context", f"story-{n}", 3, "d") for n in range(1200)]
    lines = shown(show_problems, Lint("s", problems), every=False, wide=("warning", "note", "error", "  "))
    assert "1,200" in words(lines)
    spread = {"least": 123.25, "median": 1234.5, "mean": 1, "greatest": 4096}
    numbers = dict.fromkeys(("stories", "frames", "windows", "words", "distinct_words", "images"), 1_234_567)
    ranges = ("frames_a_story", "words_a_frame", "tokens_a_frame", "image_width", "image_height", "image_proportion")
    shares = ("markup_share", "distinct_words_seen_once", "distinct_words_not_in_train", "words_not_in_train")
    shares += ("same_text_as_before", "same_image_as_before", "target_text_in_context", "target_image_in_context")
    numbers |= dict.fromkeys(ranges, spread) | dict.fromkeys(shares, 0.123)
    numbers |= {"longer_than": {"32": 0.5, "64": 0.25, "128": None}, "copy_last": {"bleu": 12.345, "rouge": 0.5}}
    numbers |= {"image_size": {"width": 1920, "height": 1080, "share": 0.75}}
    splits = dict.fromkeys(("train", "validation", "test", "all"), numbers)
    record = {"source": "s", "tokens": "t", "splits": splits, "picture": "p"}
    lines = shown(show_stats, record, wide=("copied:",))
    assert words(lines).count("1,234,567") == 6 * 4
    assert words(lines).count("(123.25–4096)") == 6 * 4
    assert words(lines).count("1920x1080") == 4
    assert set(splits) <= set(words(lines))


def test_train_dry_run(shown):
    from vsr_cli.commands.plan import show_plan
    from vsr_cli.training.plan import Disk, Memory, PartSize, Plan

    parts = [PartSize(part="image_decoder", component="resize-convolution-of-mine", trained=123_456_789, frozen=0)]
    plan = Plan(
        data=Path("data"),
        windows={"train": 5, "validation": 6},
        epochs=3,
        steps_an_epoch=1_234_567,
        windows_a_step=4,
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


def test_no_command_makes_a_table_by_itself():
    own = Path(console.__file__).parent
    making = [path for path in own.rglob("*.py") if re.search(r"\bTable\(", path.read_text(encoding="utf-8"))]
    assert {path.name for path in making} <= {"tables.py"}
