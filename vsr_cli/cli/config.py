"""`vsr config`: what a command would do."""

from __future__ import annotations

import typer

from ..console import print_json
from .arguments import (
    Assignments,
    BatchSize,
    Compile,
    Config,
    Data,
    Epochs,
    Fusion,
    ImageDecoder,
    Precision,
    Preset,
    Temporal,
    Text,
    TextDecoder,
    Track,
    Visual,
)
from .flags import resolve_train_command, train_flags
from .parsing import examples
from .settings import registry

config_app = typer.Typer(no_args_is_help=True, help="What a command would do.")


@config_app.command(
    "show",
    epilog=examples("vsr config show --temporal lstm --epochs 3", "vsr config show --preset reference > mine.json"),
)
def config_show(
    data: Data = None,
    preset: Preset = None,
    visual: Visual = None,
    text: Text = None,
    fusion: Fusion = None,
    temporal: Temporal = None,
    text_decoder: TextDecoder = None,
    image_decoder: ImageDecoder = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    precision: Precision = None,
    compile_parts: Compile = False,
    track: Track = None,
    assignments: Assignments = None,
    config: Config = None,
) -> None:
    """Print the fully resolved configuration of a train command, as --config takes it, and stop."""
    from .train import find_data

    flags = train_flags(
        {
            "visual": visual,
            "text": text,
            "fusion": fusion,
            "temporal": temporal,
            "text_decoder": text_decoder,
            "image_decoder": image_decoder,
        },
        epochs=epochs,
        batch_size=batch_size,
        precision=precision,
        compile_parts=compile_parts,
        track=track,
    )
    settings = resolve_train_command(
        registry(), find_data(data), preset=preset, config=config, flags=flags, assignments=assignments
    )
    print_json(settings.record(), indent=2)
