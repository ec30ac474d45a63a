"""What a call sends, before a function of the page gets it: one line for each mistake, and none of it in the log."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
from gradio.exceptions import ComponentProcessingError
from pydantic import ValidationError

from ..errors import one_line

LONGEST = 200
"""Characters of a reason: it may cite what was sent."""
_MISTAKES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, ComponentProcessingError)
"""What Gradio raises for values that do not fit its components."""


def refuse_wrong_arguments(page: Any) -> None:
    """Let a page refuse the arguments of a call that it cannot use in one line.

    Gradio answers `null` and logs a traceback, as if these were mistakes of the server.
    """
    preprocess = page.preprocess_data

    async def checked(*arguments: Any, **options: Any) -> Any:
        try:
            return await preprocess(*arguments, **options)
        except gr.Error as error:
            raise _refusal(str(error.message)) from None
        except ValidationError as error:
            raise _refusal(error.errors()[0]["msg"]) from None
        except _MISTAKES as error:
            raise _refusal(one_line(error)) from None

    page.preprocess_data = checked


def _refusal(reason: str) -> gr.Error:
    reason = " ".join(reason.split())
    shown = reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}…"
    line = f"the arguments of the call cannot be used ({shown}); send them as /gradio_api/info describes"
    return gr.Error(escape(line, quote=False), duration=None, print_exception=False)
