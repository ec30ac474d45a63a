"""The live table of epochs, on terminals that write to a string."""

import contextlib
import io
import itertools
from dataclasses import asdict

import pytest
from rich.console import Console

from vsr_cli.report import epochs as module
from vsr_cli.report.epochs import TrainingDisplay
from vsr_cli.runs.history import EpochRow

LOSSES = {"loss": 7.0, "text": 6.0, "image": 0.5, "alignment": 1.0}


def terminal(monkeypatch, *, width=100, height=24):
    """Simulate a terminal of a size."""
    environment = {"TERM": "xterm"}
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, _environ=environment)
    monkeypatch.setattr(module, "err", console)
    return console.file


def clock(monkeypatch, step):
    """Advance the clock by so many seconds at each call."""
    ticks = itertools.count(0.0, step)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))


def epoch_row(epoch, validation=4.0):
    held = {"loss": validation, "text": 3.0}
    return EpochRow(
        epoch=epoch, steps=2 * epoch, train=LOSSES, validation=held, learning_rate=1e-3, windows_per_second=8, seconds=1
    )


def seen(shown, width=100):
    """Return the lines that the display would draw at this moment."""
    console = Console(file=io.StringIO(), width=width)
    console.print(shown._render())
    return console.file.getvalue().splitlines()


def begun(shown, epochs=3, **further):
    shown.begin({"trained": 6, "frozen": 0}, epochs=epochs, steps_per_epoch=4, windows=14, **further)


def test_the_running_epoch_is_the_last_row_with_its_losses_so_far(monkeypatch):
    terminal(monkeypatch)
    with TrainingDisplay(watched="loss") as shown:
        begun(shown)
        shown.epoch(epoch_row(1), best=True)
        shown.step(2, 1, LOSSES, learning_rate=2e-3)
        shown.step(2, 2, {**LOSSES, "loss": 5.0}, learning_rate=2e-3)
        head, first, running, progress = seen(shown)
        assert head.split() == ["epoch", "loss", "validation", *list(LOSSES)[1:], "rate", "windows/s"]
        assert first.split()[:4] == ["1/3", "7.0000", "4.0000", "*"]
        assert running.split()[:2] == ["2/3", "5.0000"]
        assert running.split()[-2] == "2.0e-03"
        assert progress.split()[:2] == ["step", "2/4"]
        assert progress.endswith("left")
        shown.step(2, 4, LOSSES)
        assert seen(shown)[-1].startswith("finishing the epoch")
        shown.epoch(epoch_row(2), best=False)
        assert [line.split()[0] for line in seen(shown)] == ["epoch", "1/3", "2/3"]


def test_the_time_left_counts_the_steps_of_this_process(monkeypatch):
    terminal(monkeypatch)
    with TrainingDisplay(watched="loss") as shown:
        clock(monkeypatch, 10.0)
        begun(shown, taken=9)  # at 0 s
        shown.step(3, 2, LOSSES)  # at 10 s: the tenth step of twelve, and the first that was timed
        assert seen(shown)[-1].endswith("0:20 left")


def test_the_epochs_before_a_resumption_are_shown(monkeypatch):
    terminal(monkeypatch)
    earlier = [asdict(epoch_row(epoch, validation)) for epoch, validation in ((1, 3.0), (2, 2.0))]
    with TrainingDisplay(watched="loss") as shown:
        begun(shown, taken=8, earlier=earlier)
        shown.epoch(epoch_row(3, 4.0), best=False)
        lines = seen(shown)
    assert [line.split()[0] for line in lines] == ["epoch", "1/3", "2/3", "3/3"]
    assert "2.0000 *" in lines[2]
    assert "4.0000" in lines[3]


def test_finished_epochs_stay_on_the_terminal(monkeypatch):
    written = terminal(monkeypatch)
    with contextlib.suppress(KeyboardInterrupt), TrainingDisplay(watched="loss") as shown:
        begun(shown)
        shown.epoch(epoch_row(1), best=True)
        shown.step(2, 1, LOSSES)
        before = len(written.getvalue())
        raise KeyboardInterrupt
    last = written.getvalue()[before:]
    assert "1/3" in last
    assert "2/3" not in last
    assert "step" not in last


@pytest.mark.parametrize(("width", "height"), [(100, 10), (40, 24), (34, 8)])
def test_the_live_table_fits_the_terminal(monkeypatch, width, height):
    terminal(monkeypatch, width=width, height=height)
    with TrainingDisplay(watched="loss") as shown:
        begun(shown, epochs=50)
        for epoch in range(1, 31):
            shown.epoch(epoch_row(epoch), best=epoch == 1)
        shown.step(31, 3, LOSSES)
        lines = seen(shown, width)
        assert len(lines) < height
        assert max(len(line) for line in lines) <= width
        assert lines[-2].split()[0] == "31/50"
        assert any(line.split()[0] == "1/50" for line in lines)  # the best one


def test_a_log_has_one_line_per_epoch(monkeypatch):
    console = Console(file=io.StringIO(), width=60)
    monkeypatch.setattr(module, "err", console)
    lines = []
    monkeypatch.setattr(module, "say", lines.append)
    with TrainingDisplay(watched="loss") as shown:
        begun(shown)
        for epoch in (1, 2):
            for step in (1, 2, 3, 4):
                shown.step(epoch, step, LOSSES)
            shown.epoch(epoch_row(epoch), best=epoch == 1)
    assert console.file.getvalue() == ""
    assert [line.split()[:2] for line in lines[1:]] == [["epoch", "1/3"], ["epoch", "2/3"]]
    assert "validation 4.0000 *" in lines[1]
    assert "*" not in lines[2]
