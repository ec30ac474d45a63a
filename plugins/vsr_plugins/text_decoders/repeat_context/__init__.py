"""A text decoder that says again what has been said: the text of the context that is expected to score best."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class EchoOptions(Options):
    """The options of `echo`."""

    length: int = Field(128, ge=2, description="word-pieces of the longest text it can write")
    hidden: int = Field(32, ge=1, description="width of the scorer's hidden layer")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="share dropped of the scorer's hidden layer")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare `echo`."""
    return [
        Component(
            name="echo",
            summary="repeats the text of the context that is expected to overlap the next one most; writes nothing new",
            build="vsr_plugins.text_decoders.repeat_context.model:build",
            options=EchoOptions,
        )
    ]
