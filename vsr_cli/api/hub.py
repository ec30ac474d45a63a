"""The Hugging Face Hub: quiet requests, a progress bar, and short reasons of its errors. Imports it when used."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def terminal_bar() -> Any:
    """Return huggingface_hub's progress bar, which has the time left, shown only on a terminal."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class TerminalBar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": not sys.stderr.isatty()})  # type: ignore[no-untyped-call]

    return TerminalBar


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Silence the warnings of huggingface_hub in a block whose errors are reported in one line."""
    from huggingface_hub import logging as hub_logging

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)


def hub_reason(error: BaseException) -> str:
    """Return the first line of an error, without the address, which may end in a page of signature."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next(filter(None, lines), type(error).__name__)
    return re.sub(r"\s*(for url:? )?'?https?://\S+", "", first)[:300]
