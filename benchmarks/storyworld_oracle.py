"""What an ideal reader of storyworld can score, and what copying scores: the table of docs/explanation/storyworld.md.

python benchmarks/storyworld_oracle.py [STORIES]
"""

from __future__ import annotations

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from vsr_cli.api import Sample
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build
from vsr_plugins.datasets.storyworld.oracle import CONTEXT, oracle_text, random_share, uncertainty
from vsr_plugins.datasets.storyworld.telling import tell
from vsr_plugins.datasets.storyworld.world import draw_world

NO_IMAGE = np.zeros((1, 1, 3), dtype=np.uint8)


def samples(stories: int, seen: int) -> list[Sample]:
    """Return every window's text as the likeliest one for a reader of `seen` frames; 0 copies the last text."""
    found = []
    for index in range(stories):
        world = draw_world(0, index)
        texts = [clean_text(tell(world, t).text) for t in range(len(world))]
        for t in range(CONTEXT, len(world)):
            guess = clean_text(oracle_text(world, t, seen=seen)) if seen else texts[t - 1]
            found.append(
                Sample(
                    story=str(index),
                    context_texts=tuple(texts[t - CONTEXT : t]),
                    predicted_text=guess,
                    reference_text=texts[t],
                    predicted_image=NO_IMAGE,
                    reference_image=NO_IMAGE,
                )
            )
    return found


def main() -> None:
    stories = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    provided = [registry().find("metrics", name) for name in ("bleu", "rouge", "meteor")]
    metrics = [(entry.component.name, build(entry, entry.component.options())) for entry in provided]
    table = Table(title=f"{stories} stories, {len(samples(stories, 0))} windows")
    for column in ("reader", *(name for name, _ in metrics)):
        table.add_column(column)
    for seen, reader in ((4, "all four frames"), (3, "the last three"), (2, "the last two"), (0, "copies the last")):
        told = samples(stories, seen)
        scores = [metric.combine(metric.measure(told))[name] for name, metric in metrics]
        table.add_row(reader, *(f"{score:.4g}" for score in scores))
    console = Console()
    console.print(table)
    windows = [(world, t) for i in range(stories) for world in [draw_world(0, i)] for t in range(CONTEXT, len(world))]
    shares = [random_share(world, t) for world, t in windows]
    bits = [uncertainty(world, t) for world, t in windows]
    console.print(f"random share of a text's words {np.mean(shares):.3f}, uncertainty {np.mean(bits):.2f} bits a frame")


if __name__ == "__main__":
    main()
