"""What all tests share."""

import os
import sys

import pytest

# One thread a process: tests run side by side, and a run is repeatable to the bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test needs the network; one that would ask for it fails at once instead of waiting.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keep the features that tests compute out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Seed torch where a test has loaded it, so that no test depends on those before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
