"""The result of an ablation, on hand-written evaluations."""

import pytest
from PIL import Image

from vsr_cli.ablation.plan import Ablation, Cell, Combination, Plan
from vsr_cli.ablation.results import results
from vsr_cli.ablation.running import Outcome
from vsr_cli.files.atomic import write_json
from vsr_cli.plugin.discovery import registry
from vsr_cli.report.ablation import markdown, notes, tables
from vsr_cli.report.charts import draw_ablation
from vsr_cli.runs.results import BETTER, NOT_SIGNIFICANT, WORSE
from vsr_cli.runs.run import FORMAT

from ..written_evaluation import settle

SKILLS = {"plain": 3, "strong": 6, "alike": 3, "weak": 1}


@pytest.fixture
def ablation(tmp_path):
    return Ablation(tmp_path / "ablation")


@pytest.fixture
def make(write, ablation):
    """Write the runs of an ablation: make(["plain", "strong"], seeds=3) returns its plan and outcome."""

    def made(labels, *, seeds, lacking=()):
        cells = [Cell(f"{label}_seed{seed}", at, seed, {}) for seed in range(seeds) for at, label in enumerate(labels)]
        for at, cell in enumerate(cells):
            if cell.name in lacking:
                continue
            run = settle(write(ablation.run(cell), seed=at, skill=SKILLS[labels[cell.combination]]))
            facts = {"format": FORMAT, "status": "finished", "parameters": {"trained": 1234567, "frozen": 0}}
            write_json(run / "run.json", {**facts, "started": "", "data": ""})
        plan = Plan(
            combinations=[Combination(label, {"temporal": label}) for label in labels],
            cells=cells,
            fingerprint="f",
            split="test",
            metrics=["bleu", "mse"],
            metric_settings=[],
        )
        failed = dict.fromkeys(lacking, "it broke")
        return plan, Outcome(done=[cell for cell in cells if cell.name not in lacking], failed=failed)

    return made


def test_verdicts_on_better_equal_and_worse_combinations(make, ablation):
    found = results(registry(), *arranged(make(["plain", "strong", "alike", "weak"], seeds=3), ablation))
    words = {name: [score.get("verdict") for score in metric["scores"]] for name, metric in found["metrics"].items()}
    assert words == {name: [None, BETTER, NOT_SIGNIFICANT, WORSE] for name in ("bleu", "mse")}
    assert found["comparisons"] == 6
    base, strong, *_ = found["metrics"]["bleu"]["scores"]
    assert base["value"] == pytest.approx(sum(base["seeds"]) / 3)
    assert base["ci95"][0] < base["value"] < base["ci95"][1]
    assert strong["difference"] == pytest.approx(strong["value"] - base["value"])
    assert strong["difference_ci95"][0] > 0
    assert strong["p"] <= strong["p_holm"] < 0.05
    assert strong["baselines"] == {"copy-last": {"value": 3.0, "significantly_better": 3}}


def test_results_are_reproducible(make, ablation):
    arranged_once = arranged(make(["plain", "strong"], seeds=2), ablation)
    assert results(registry(), *arranged_once) == results(registry(), *arranged_once)


def test_a_combination_without_its_first_seed_is_compared_by_the_others(make, ablation):
    plan, outcome = make(["plain", "strong"], seeds=3, lacking=["plain_seed0"])
    found = results(registry(), plan, ablation, outcome)
    assert [len(combination["seeds"]) for combination in found["combinations"]] == [2, 3]
    assert found["metrics"]["mse"]["scores"][1]["verdict"] == BETTER


def test_without_the_base_nothing_is_compared(make, ablation):
    plan, outcome = make(["plain", "strong"], seeds=1, lacking=["plain_seed0"])
    found = results(registry(), plan, ablation, outcome)
    base, strong = found["metrics"]["bleu"]["scores"]
    assert base is None
    assert "verdict" not in strong
    assert found["comparisons"] == 0
    assert "no run" in markdown(found)
    assert "it broke" in markdown(found)


def test_tables_fit_a_terminal_and_the_chart_is_drawn(make, ablation, tmp_path):
    from rich.console import Console

    found = results(registry(), *arranged(make(["plain", "strong", "weak"], seeds=3), ablation))
    for width in (70, 80, 200):
        console = Console(width=width, record=True, file=(tmp_path / "out").open("w"))
        for title, table in tables(found, width=width).items():
            console.print(title, table)
        said = console.export_text()
        assert "▲" in said
        assert "▼" in said
        assert "1,234,567" in said
        assert max(map(len, said.splitlines())) <= width
        assert all(label in said for label in ("plain", "strong", "weak"))
    assert "1 of 1" in said  # the baselines that every seed beats
    assert any("Holm" in note for note in notes(found))
    draw_ablation(found, tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size[0] > 800


def test_a_single_seed_is_noted(make, ablation):
    found = results(registry(), *arranged(make(["plain", "strong"], seeds=1), ablation))
    assert any("with one seed" in note for note in notes(found))


def arranged(made, ablation):
    plan, outcome = made
    return plan, ablation, outcome
