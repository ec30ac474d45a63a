"""The hooks of plugins: one per kind of component, each `() -> Iterable[Component]`.

A plugin is a module named by an entry point of the group `vsr.plugins`. It implements any of these hooks by functions
marked `@vsr_cli.api.hookimpl`, which have no arguments and no side effects, and return its components.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from ..api import Component

hookspec = pluggy.HookspecMarker("vsr")


@hookspec
def vsr_visual_encoders() -> Iterable[Component]:
    """Visual encoders: `build(options, context: BuildContext) -> VisualEncoder`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_text_encoders() -> Iterable[Component]:
    """Text encoders: `build(options, context: BuildContext) -> TextEncoder`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_fusions() -> Iterable[Component]:
    """Fusions: `build(options, context: BuildContext) -> Fusion`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_temporal_models() -> Iterable[Component]:
    """Temporal models: `build(options, context: BuildContext) -> TemporalModel`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_text_decoders() -> Iterable[Component]:
    """Text decoders: `build(options, context: BuildContext) -> TextDecoder`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_image_decoders() -> Iterable[Component]:
    """Image decoders: `build(options, context: BuildContext) -> ImageDecoder | GenerativeImageDecoder`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_datasets() -> Iterable[Component]:
    """Datasets: `build(options) -> Dataset`."""
    raise AssertionError("a specification is never called")


@hookspec
def vsr_metrics() -> Iterable[Component]:
    """Metrics: `build(options) -> Metric`."""
    raise AssertionError("a specification is never called")
