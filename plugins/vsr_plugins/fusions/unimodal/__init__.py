"""Fusions that leave one half of each frame out, to see what the other is worth."""

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_fusions() -> list[Component]:
    """Declare `image-only` and `text-only`."""
    return [
        Component(
            name="image-only",
            summary="a linear layer over the image's embedding; the temporal model sees no text",
            build="vsr_plugins.fusions.unimodal.model:build_image_only",
        ),
        Component(
            name="text-only",
            summary="a linear layer over the text's embedding; the temporal model sees no image",
            build="vsr_plugins.fusions.unimodal.model:build_text_only",
        ),
    ]
