import numpy as np
import pytest
import torch

from vsr_cli.data.batches import taking
from vsr_cli.data.shards import ArrayRows

CPU = torch.device("cpu")
ROWS = np.random.default_rng(0).integers(0, 255, (40, 5, 3), dtype=np.uint8)


class Counted(ArrayRows):
    gathered = 0

    def gather(self, rows):
        self.gathered += rows.size
        return super().gather(rows)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("budget", [0, 10**9], ids=["from the map", "resident"])
def test_rows_are_equal_on_device_and_in_shards(dtype, budget):
    used = np.asarray([[3, 7], [39, 3]])
    take = taking(ArrayRows(ROWS.astype(dtype)), used, CPU, budget=budget)
    for wanted in (used, used[:, 0], np.asarray([7])):
        found = take(wanted)
        assert np.array_equal(found.numpy(), ROWS[wanted])
        assert found.numpy().dtype == dtype


def test_rows_on_the_device_are_read_once():
    rows = Counted(ROWS)
    take = taking(rows, np.asarray([1, 2, 1]), CPU, budget=2 * ROWS[0].nbytes)
    before = rows.gathered
    for _ in range(3):
        take(np.asarray([2, 1]))
    assert rows.gathered == before == 3  # one to learn a row's size


def test_rows_that_do_not_fit_are_gathered_per_batch():
    rows = Counted(ROWS)
    take = taking(rows, np.asarray([1, 2]), CPU, budget=2 * ROWS[0].nbytes - 1)
    before = rows.gathered
    take(np.asarray([2, 1]))
    assert rows.gathered == before + 2


def test_batch_without_rows():
    take = taking(ArrayRows(ROWS), np.empty((0, 4), np.int64), CPU)
    assert take(np.empty((0, 4), np.int64)).shape == (0, 4, 5, 3)
