import platform
import subprocess
import sys

import pytest

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
def test_freed_memory_is_used_again_without_the_kernel():
    faults = {
        word: int(subprocess.run([sys.executable, "-c", COUNT_FAULTS, word], capture_output=True, check=True).stdout)
        for word in ("keep", "leave")
    }
    assert faults["keep"] < 50
    assert faults["leave"] > faults["keep"] + 20
