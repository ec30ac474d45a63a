"""What chat templates may do: they are programs of Jinja in a sandbox, which a model's folder brings along."""

from __future__ import annotations

from jinja2 import TemplateError

TEMPLATE_ERRORS = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""Errors of a template that cannot render a conversation, or of one that uses up the machine."""
