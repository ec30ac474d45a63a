import platform
import subprocess
import sys

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.training.memory import halve_to_fit

COUNT_FAULTS = """
import resource, sys
import numpy as np
from vsr_cli.training.memory import tune_allocator

if sys.argv[1] == "keep":
    tune_allocator()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(48 * 2**20, dtype=np.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is the one that is told")
def test_freed_memory_is_reused_without_page_faults():
    faults = {
        word: int(subprocess.run([sys.executable, "-c", COUNT_FAULTS, word], capture_output=True, check=True).stdout)
        for word in ("keep", "leave")
    }
    assert faults["keep"] < 50
    assert faults["leave"] > faults["keep"] + 20


def test_out_of_memory_in_one_of_several_processes_names_the_batch_size():
    def attempt(windows):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    message = r"\(8 windows per process in one pass\); .* training\.batch_size, .*gradient_accumulation_steps"
    with pytest.raises(VsrError, match=message):
        halve_to_fit(attempt, 16, processes=2)
