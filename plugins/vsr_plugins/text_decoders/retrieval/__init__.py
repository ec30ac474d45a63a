"""Decoders that choose among the training frames in place of writing and drawing."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class RetrievalTextOptions(Options):
    """The options of the text decoder `retrieval`."""

    length: int = Field(32, ge=2, description="word-pieces of a text that are kept, the last one marking its end")


class RetrievalImageOptions(Options):
    """The options of the image decoder `retrieval`."""

    most: int = Field(4000, ge=1, description="pictures that are kept in the run, evenly chosen from the training ones")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare `retrieval`."""
    return [
        Component(
            name="retrieval",
            summary="the training text that the objective next finds likeliest",
            build="vsr_plugins.text_decoders.retrieval.model:build_text",
            options=RetrievalTextOptions,
        )
    ]


@hookimpl
def vsr_image_decoders() -> list[Component]:
    """Declare `retrieval`."""
    return [
        Component(
            name="retrieval",
            summary="the training image that the objective next finds likeliest",
            build="vsr_plugins.text_decoders.retrieval.model:build_image",
            options=RetrievalImageOptions,
        )
    ]
