"""Loading without a word from transformers, diffusers and the hub's library. Imports none until it is used."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*, below: int = logging.ERROR) -> Iterator[None]:
    """Keep the libraries' progress bars, and what they say below a level of logging, off the terminal.

    What matters to who loads something is raised.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    diffusers = logging.getLogger("diffusers")  # by its name, as the library is an extra
    level, hub_level = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    diffusers_level = diffusers.level
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(below)
    hub_logging.set_verbosity(below)
    diffusers.setLevel(below)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        diffusers.setLevel(diffusers_level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
