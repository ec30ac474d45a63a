"""The Hugging Face Hub: quiet requests, a progress bar, and short reasons of its errors. Imports it when used."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ..console import warn
from .requirements import TIMEOUT

_answers = ContextVar("_answers", default=False)
"""Whether the Hub has answered in a block around this one, so that it need not be asked again."""


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


@contextmanager
def cache_if_unreachable(*models: str | Path) -> Iterator[None]:
    """Load models in a block; where the Hub cannot be reached, warn of it, and take them from the cache at once.

    The libraries would try again for half a minute for each file that a model may have, as its cache lacks most. Local
    folders need no Hub.
    """
    from huggingface_hub import constants

    remote = [str(model) for model in models if not Path(model).expanduser().exists()]
    asks = bool(remote) and not constants.HF_HUB_OFFLINE and not _answers.get()
    problem = _problem_of_hub() if asks else None
    if problem is None:
        token = _answers.set(asks or _answers.get())
        try:
            yield
        finally:
            _answers.reset(token)
        return
    warn(f"{remote[0]}: the Hugging Face Hub cannot be reached ({problem}), so only its cache on this machine is used")
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _problem_of_hub() -> str | None:
    """Return why the Hub gives no answer to one request; None if it gives any."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except (HTTPError, OSError) as error:
        return hub_reason(error)
    return None


def hub_reason(error: BaseException) -> str:
    """Return the first line of an error, without the address, which may end in a page of signature."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next(filter(None, lines), type(error).__name__)
    return re.sub(r"\s*(for url:? )?'?https?://\S+", "", first)[:300]
