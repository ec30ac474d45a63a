"""What a preset scores on all stories of a collection, each held out once, beside the floors.

A tenth of a few hundred stories is too few to tell two scores apart. Here the stories are parted into folds, whole
groups together; for each fold a model is trained on the others, which never saw it, and scored on it. What was measured
is put together, and resampled by story as one. Candidates of a rank are the targets of their own fold.

    python benchmarks/folds.py --out cv -- my_stories/ --preset laptop --groups groups.csv

All that follows `--` is what `vsr prepare` would be given. Typed again, what is done is not done again.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

VALIDATION = 0.1
"""Of the stories that are not held out: they choose the best epoch."""


def vsr(*words: object) -> None:
    """Run a command, and stop where it fails."""
    if subprocess.run([sys.executable, "-m", "vsr_cli", *map(str, words)], check=False).returncode:
        raise SystemExit(f"vsr {' '.join(map(str, words))}: failed")


def part(groups: dict[str, str], folds: int, seed: int) -> dict[str, int]:
    """Give the fold of each story: whole groups, the largest first, each into the fold that has the fewest stories."""
    members: dict[str, list[str]] = {}
    for story, group in groups.items():
        members.setdefault(group, []).append(story)
    shuffled = np.random.default_rng(seed).permutation(sorted(members)).tolist()
    sizes, fold = [0] * folds, {}
    for group in sorted(shuffled, key=lambda group: -len(members[group])):
        chosen = sizes.index(min(sizes))
        sizes[chosen] += len(members[group])
        fold |= dict.fromkeys(members[group], chosen)
    return fold


def write_split(path: Path, groups: dict[str, str], fold: dict[str, int], *, held_out: int) -> None:
    """Write the split file of a fold: it is the test, and of the others some groups are the validation."""
    rest = sorted({group for story, group in groups.items() if fold[story] != held_out})
    some = np.random.default_rng(held_out).permutation(rest)[: max(1, round(VALIDATION * len(rest)))]
    choosing = set(some.tolist())
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["story", "split"])
        for story, group in groups.items():
            rows.writerow(
                [story, "test" if fold[story] == held_out else "validation" if group in choosing else "train"]
            )


def pooled(runs: list[Path], names: list[str]) -> tuple[dict[str, dict[str, object]], list[str]]:
    """Score what was measured of all folds together; give the cells, and the story of each window."""
    from vsr_cli.config import resolve_metrics
    from vsr_cli.evaluation.bootstrap import resampled_scores, score_series
    from vsr_cli.evaluation.scoring import build_metrics
    from vsr_cli.evaluation.stored import open_evaluated
    from vsr_cli.plugin.discovery import registry

    evaluated = [open_evaluated(run, "test") for run in runs]
    stories = [line["story"] for each in evaluated for line in each.predictions()]
    measured = [each.statistics() for each in evaluated]
    metrics, _ = build_metrics(resolve_metrics(registry(), names, []))
    statistics: dict[str, dict[str, np.ndarray]] = {name: {} for name in metrics}
    for key in measured[0]:
        name, _, series = key.partition("/")
        if name in statistics:
            statistics[name][series] = np.concatenate([each[key] for each in measured])
    resampled = resampled_scores(metrics, statistics, stories)
    cells = {
        name: score_series(name, metric, statistics[name], resampled.get(name)) for name, metric in metrics.items()
    }
    return cells, stories


def show(cells: dict[str, dict[str, object]], stories: list[str]) -> None:
    """Print each score beside each floor, with the interval of the difference."""
    table = Table(title=f"{len(set(stories))} stories, {len(stories)} windows, each held out once")
    for column in ("metric", "floor", "model", "floor's", "difference", "95 %", ""):
        table.add_column(column)
    for name, cell in cells.items():
        floors: dict[str, dict[str, object]] = cell["floors"]  # type: ignore[assignment]
        for number, (floor, facts) in enumerate(floors.items()):
            between = "" if facts["ci95"] is None else " to ".join(f"{bound:+.4f}" for bound in facts["ci95"])  # type: ignore[attr-defined]
            table.add_row(
                name if number == 0 else "",
                floor,
                f"{cell['value']:.4f}" if number == 0 else "",
                f"{facts['value']:.4f}",
                f"{facts['difference']:+.4f}",
                between,
                facts["verdict"] or "",
            )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of how the stories are parted")
    parser.add_argument("--metrics", nargs="+", default=["bleu", "rouge", "meteor", "rank", "rank-text", "mse"])
    parser.add_argument(
        "--train", nargs="+", default=[], metavar="WORD", help="settings of the section training: epochs=3"
    )
    parser.add_argument("prepare", nargs="+", metavar="WORDS", help="for vsr prepare")
    given = parser.parse_args()
    from vsr_cli.data.prepared import open_prepared
    from vsr_cli.files import write_json

    out: Path = given.out
    vsr("prepare", *given.prepare, "--out", out / "all")
    groups = {story.id: story.group for story in open_prepared(out / "all").stories() if story.split}
    fold = part(groups, given.folds, given.seed)
    runs = []
    for number in range(given.folds):
        split, data, run = out / f"fold{number}.csv", out / f"data{number}", out / f"run{number}"
        runs.append(run)
        if (run / "evaluations" / "test" / "result.json").exists():
            continue
        write_split(split, groups, fold, held_out=number)
        vsr("prepare", *given.prepare, "--split", "file", "--set", f"data.split_file={split}", "--out", data)
        first = ["--data", data, "--out", run, *(f"--set=training.{word}" for word in given.train)]
        vsr("train", *(["--resume", run] if run.exists() else first))
        vsr("evaluate", "--run", run, "--split", "test", "--metrics", *given.metrics)
    cells, stories = pooled(runs, given.metrics)
    write_json(out / "result.json", {"stories": len(set(stories)), "metrics": cells}, seal=False)
    show(cells, stories)


if __name__ == "__main__":
    main()
