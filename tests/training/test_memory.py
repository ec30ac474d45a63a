import platform
import subprocess
import sys

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.training.memory import halve_to_fit

COUNT_FAULTS = """
import resource
import numpy as np
from vsr_cli.training.memory import tune_allocator

def count():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(48 * 2**20, dtype=np.uint8)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults

default = count()
tune_allocator()
print(default, count())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is the one that is configured")
def test_freed_memory_is_reused_without_page_faults():
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, check=True)
    default, tuned = map(int, done.stdout.split())
    assert tuned < 50
    assert default > tuned + 20


def test_out_of_memory_in_one_of_several_processes_names_the_batch_size():
    def attempt(windows):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    message = r"\(8 windows per process in one pass\); .* training\.batch_size, .*gradient_accumulation_steps"
    with pytest.raises(VsrError, match=message):
        halve_to_fit(attempt, 16, processes=2)
