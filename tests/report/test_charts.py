"""The loss curves of a run, from a generated history."""

import pytest
from PIL import Image

from vsr_cli.files.atomic import write_json
from vsr_cli.report.charts import curves_figure, draw_curves
from vsr_cli.runs.history import best_row, losses_of, read_history
from vsr_cli.runs.run import FORMAT, Run

LOSSES = {"loss": 5.0, "text": 4.0, "image": 0.5, "alignment": 1.0}


def write_history(folder, epochs, *, held_out=True):
    folder.mkdir()
    write_json(folder / "config.json", {"training": {"best_metric": "loss"}})
    write_json(folder / "run.json", {"format": FORMAT, "status": "finished", "started": "", "data": ""})
    rows = [
        {
            "epoch": epoch,
            "steps": 7 * epoch,
            "train": {name: value / epoch for name, value in LOSSES.items()},
            "validation": {name: value + (epoch - 3) ** 2 for name, value in LOSSES.items()} if held_out else {},
            "learning_rate": 1e-3,
            "windows_per_second": 50.0,
            "seconds": 2.0,
        }
        for epoch in range(1, epochs + 1)
    ]
    for row in rows:
        Run(folder).append_history(row)
    return Run(folder)


def rewrite(run, rows):
    run.history.unlink()
    for row in rows:
        run.append_history(row)


@pytest.fixture
def panels():
    """Draw a run and return the panels by title."""

    def draw(run):
        rows = read_history(run.history)
        figure = curves_figure(rows, title=run.name, best=best_row(rows, "loss"))
        return {axes.get_title("left"): axes for axes in figure.axes if axes.axison}

    return draw


def test_the_chart_is_written_and_replaced(tmp_path):
    run = write_history(tmp_path / "run", 2)
    path = draw_curves(run)
    first = path.read_bytes()
    assert path == run.folder / "curves.png"
    assert Image.open(path).size[0] > 1000
    run.append_history(read_history(run.history)[1] | {"epoch": 3})
    assert draw_curves(run).read_bytes() != first
    assert [each.name for each in run.folder.glob(".*")] == []


def test_every_loss_and_the_learning_rate_have_a_panel(tmp_path, panels):
    axes = panels(write_history(tmp_path / "run", 5))
    assert list(axes) == ["loss (weighted sum)", "text", "image", "alignment", "learning rate at the end of the epoch"]
    train, held, *_ = axes["text"].lines
    assert list(train.get_xdata()) == [1, 2, 3, 4, 5]
    assert list(train.get_ydata()) == [4.0, 2.0, 4 / 3, 1.0, 0.8]
    assert list(held.get_ydata()) == [8.0, 5.0, 4.0, 5.0, 8.0]


def test_the_best_epoch_is_marked_in_every_loss(tmp_path, panels):
    axes = panels(write_history(tmp_path / "run", 5))
    for name in ("loss (weighted sum)", "text", "image", "alignment"):
        *_, line, star = axes[name].lines
        assert list(line.get_xdata()) == [3, 3]
        assert list(star.get_xdata()) == [3]
        assert "at the best epoch" in axes[name].get_title("right")


def test_a_steep_loss_has_a_log_scale(tmp_path, panels):
    run = write_history(tmp_path / "run", 3, held_out=False)
    rows = read_history(run.history)
    for row, loss in zip(rows, (9.0, 1.0, 0.9), strict=True):
        row["train"]["text"] = loss
    rows[0]["train"]["image"] = -1.0  # of which there is no logarithm
    rewrite(run, rows)
    axes = panels(run)
    assert axes["text"].get_yscale() == "log"
    assert axes["alignment"].get_yscale() == axes["image"].get_yscale() == "linear"


@pytest.mark.parametrize("epochs", [1, 100])
def test_without_a_validation_split_only_training_is_drawn(tmp_path, panels, epochs):
    run = write_history(tmp_path / "run", epochs, held_out=False)
    assert len(panels(run)["text"].lines) == 1
    assert draw_curves(run).is_file()


def test_before_the_first_epoch_there_is_no_chart(tmp_path):
    assert draw_curves(write_history(tmp_path / "run", 0)) is None
    assert not (tmp_path / "run" / "curves.png").exists()


def test_a_loss_that_starts_later_is_drawn_from_there(tmp_path, panels):
    run = write_history(tmp_path / "run", 3)
    rows = read_history(run.history)
    rows[2]["train"]["rhyme"] = 0.25
    rewrite(run, rows)
    assert losses_of(rows)[-1] == "rhyme"
    (line,) = panels(run)["rhyme"].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([3], [0.25])
