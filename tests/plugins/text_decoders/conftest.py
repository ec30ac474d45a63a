"""Small language models for the tests of text decoders."""

from pathlib import Path

import pytest

from .decoders import write_language_model


@pytest.fixture(scope="session")
def language_models(tmp_path_factory) -> Path:
    """A folder with a small GPT-2, `gpt2`, and a small Llama, `llama`."""
    folder = tmp_path_factory.mktemp("models")
    for architecture in ("gpt2", "llama"):
        write_language_model(folder / architecture, architecture)
    return folder
