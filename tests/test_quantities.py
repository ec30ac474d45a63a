"""Counts and sizes in messages."""

import pytest

from vsr_cli.quantities import counted, size


def test_a_noun_agrees_with_its_count():
    assert [counted(number, "story") for number in (0, 1, 2)] == ["0 stories", "1 story", "2 stories"]
    assert [counted(number, "epoch") for number in (1, 2)] == ["1 epoch", "2 epochs"]
    assert counted(2, "set of features", "sets of features") == "2 sets of features"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1536, "1.5 KiB"),
        (1010 * 2**20, "1010 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (139 * 2**30, "139 GiB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(count, shown):
    assert size(count) == shown
