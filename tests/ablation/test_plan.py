"""The axes, combinations and cells of an ablation."""

import pytest

from vsr_cli.ablation.plan import (
    Axis,
    Combination,
    check_axes,
    combinations,
    grid_axes,
    label_of,
    make_cells,
    part_axes,
)
from vsr_cli.errors import VsrError

AXES = [
    Axis("temporal.name", ("gru", "lstm", "mean")),
    Axis("fusion.name", ("concat",)),
    Axis("model.width", ("8", "16")),
]


def test_product_and_one_at_a_time_plans():
    every = [label_of(values, AXES) for values in combinations(AXES, one_at_a_time=False)]
    assert every == [f"{name} model.width={width}" for name in ("gru", "lstm", "mean") for width in (8, 16)]
    single = [label_of(values, AXES) for values in combinations(AXES, one_at_a_time=True)]
    assert single == ["gru model.width=8", "lstm model.width=8", "mean model.width=8", "gru model.width=16"]


def test_plan_without_variation_has_one_combination():
    axes = part_axes({"temporal": ["gru"], "fusion": []})
    assert [label_of(values, axes) for values in combinations(axes, one_at_a_time=True)] == ["default"]
    assert combinations([], one_at_a_time=False) == [{}]


def test_grid_values_are_parsed_in_order():
    assert grid_axes(["model.width=128, 256", "text-decoder.length=8"]) == [
        Axis("model.width", ("128", "256")),
        Axis("text_decoder.length", ("8",)),
    ]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("width=1,2", "not of the form section.key=value,value"),
        ("model.width=", "not of the form"),
        ("model.width", "not of the form"),
        ("modle.width=1,2", "did you mean model?"),
        ("data.image_size=32,64", "section 'data'"),
        ("training.seed=1,2", "use --seeds N"),
    ],
)
def test_an_invalid_axis_is_one_line(word, said):
    with pytest.raises(VsrError, match=said) as caught:
        grid_axes([word])
    assert "\n" not in str(caught.value)


def test_a_setting_varies_in_one_place_only():
    with pytest.raises(VsrError, match="temporal: is varied twice"):
        check_axes([AXES[0], Axis("temporal.name", ("gru",))], [])
    with pytest.raises(VsrError, match=r"--set model\.width=4: model\.width is varied"):
        check_axes(AXES, ["training.epochs=3", "model.width=4"])


def test_first_seeds_run_before_second_seeds():
    made = make_cells([Combination("a", {}), Combination("b", {})], [settings(1), settings(2)], 2)
    assert [(cell.combination, cell.seed) for cell in made] == [(0, 5), (1, 5), (0, 6), (1, 6)]
    assert [cell.settings["training"]["seed"] for cell in made] == [5, 5, 6, 6]
    assert {cell.settings["model"]["width"] for cell in made if cell.combination == 0} == {1}


def test_cell_folders_have_distinct_names():
    long = "text=" + "x" * 80
    made = make_cells([Combination(f"{long}/a", {}), Combination(f"{long}/b", {})], [settings(1), settings(2)], 2)
    assert len({cell.name for cell in made}) == 4
    assert all("/" not in cell.name for cell in made)


def test_equal_combinations_are_refused():
    with pytest.raises(VsrError, match="b: has the same settings as a"):
        make_cells([Combination("a", {}), Combination("b", {})], [settings(1), settings(1)], 1)


def settings(width):
    return {"model": {"width": width}, "training": {"seed": 5}}
