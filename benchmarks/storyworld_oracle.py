"""Scores of an ideal reader of storyworld, and of copying: the table of docs/explanation/storyworld.md.

Run as `python benchmarks/storyworld_oracle.py [STORIES]`. By the world's rules, a reader of four frames knows
the content of the fifth; only its paraphrases are random, so the exact distribution of a frame's text can be computed.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import numpy as np
from rich.console import Console
from rich.table import Table

from vsr_cli.api import Sample
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build
from vsr_plugins.datasets.storyworld.cast import CHARACTERS, ERRANDS, PLACES, THINGS
from vsr_plugins.datasets.storyworld.narration import all_texts, frame_text
from vsr_plugins.datasets.storyworld.world import Fact, World, draw_world, facts_stated, scene_at

CONTEXT = 4
NO_IMAGE = np.zeros((1, 1, 3), dtype=np.uint8)


def continuations(world: World, t: int, *, seen: int = CONTEXT) -> list[tuple[float, str]]:
    """Return the texts that frame `t` can have for a reader of the `seen` frames before it, likeliest first.

    The probabilities sum to one. `t` counts from 0 and is at least `CONTEXT`; `seen` is from 1 to `CONTEXT`.
    """
    assert CONTEXT <= t < len(world), f"frame {t} has no context of {CONTEXT} in a story of {len(world)}"
    assert 1 <= seen <= CONTEXT, seen
    hour = world.first_hour + t
    known = {fact for before in range(hour - seen, hour) for fact in facts_stated(before)}
    wanted = sorted(set(facts_stated(hour)) - known)
    total: dict[str, float] = defaultdict(float)
    completions = list(_completions(world, known, wanted))
    for completion in completions:
        for probability, text in all_texts(scene_at(completion, t), frame=t):
            total[text] += probability / len(completions)
    return sorted(((probability, text) for text, probability in total.items()), key=lambda item: (-item[0], item[1]))


def oracle_text(world: World, t: int, *, seen: int = CONTEXT) -> str:
    """Return the likeliest text of frame `t` for a reader of the `seen` frames before it."""
    return continuations(world, t, seen=seen)[0][1]


def uncertainty(world: World, t: int) -> float:
    """Return the entropy, in bits, of frame `t`'s text given the four frames before it."""
    return -sum(probability * math.log2(probability) for probability, _ in continuations(world, t))


def random_share(world: World, t: int) -> float:
    """Return the expected share of frame `t`'s words that its likeliest text misses.

    That is one less the expected recall, by longest common subsequence of words, of the oracle's text.
    """
    distribution = continuations(world, t)
    best = distribution[0][1].split()
    return sum(p * (1 - _common(best, text.split()) / len(text.split())) for p, text in distribution)


def _completions(world: World, known: set[Fact], wanted: list[Fact]) -> Iterator[World]:
    """Return every world that agrees with the known facts and differs in the wanted ones, all equally likely.

    The world's draws are uniform and without repetition, so each way of giving the unknown facts distinct
    values that no known fact has leaves the same number of ways for the rest.
    """
    pools = {
        "friend": (("friend",), CHARACTERS),
        "place": (("home", "goal"), PLACES),
        "thing": (("thing",), THINGS),
    }
    values: dict[Fact, object] = {
        **{("friend", i): world.friends[i] for i in range(3)},
        **{("home", i): world.homes[i] for i in range(3)},
        **{("goal", i): world.goals[i] for i in range(3)},
        **{("thing", i): world.things[i] for i in range(3)},
        **{("errand", i): world.errands[i] for i in range(3)},
    }
    choices: list[list[dict[Fact, object]]] = []
    for kinds, pool in pools.values():
        taken = [values[fact] for fact in known if fact[0] in kinds]
        free = [value for value in pool if value not in taken]
        open_facts = [fact for fact in wanted if fact[0] in kinds]
        choices.append([dict(zip(open_facts, given, strict=True)) for given in permutations(free, len(open_facts))])
    errands = [fact for fact in wanted if fact[0] == "errand"]
    choices.append([dict(zip(errands, given, strict=True)) for given in product(ERRANDS, repeat=len(errands))])
    for parts in product(*choices):
        merged = dict(values)
        for part in parts:
            merged.update(part)
        yield _world_of(world, merged)


def _world_of(world: World, values: dict[Fact, object]) -> World:
    def column(kind: str) -> tuple[object, ...]:
        return tuple(values[kind, i] for i in range(3))  # type: ignore[index]

    return replace(
        world,
        friends=column("friend"),  # type: ignore[arg-type]
        homes=column("home"),  # type: ignore[arg-type]
        goals=column("goal"),  # type: ignore[arg-type]
        things=column("thing"),  # type: ignore[arg-type]
        errands=column("errand"),  # type: ignore[arg-type]
    )


def _common(left: list[str], right: list[str]) -> int:
    """Return the length of the longest common subsequence of two lists of words."""
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for j, other in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def samples(stories: int, seen: int) -> list[Sample]:
    """Return every window's text as the likeliest one for a reader of `seen` frames; 0 copies the last text."""
    found = []
    for index in range(stories):
        world = draw_world(0, index)
        texts = [clean_text(frame_text(world, t).text) for t in range(len(world))]
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
        rows = samples(stories, seen)
        scores = [metric.combine(metric.measure(rows))[name] for name, metric in metrics]
        table.add_row(reader, *(f"{score:.4g}" for score in scores))
    console = Console()
    console.print(table)
    windows = [(world, t) for i in range(stories) for world in [draw_world(0, i)] for t in range(CONTEXT, len(world))]
    shares = [random_share(world, t) for world, t in windows]
    bits = [uncertainty(world, t) for world, t in windows]
    console.print(f"random share of a text's words {np.mean(shares):.3f}, uncertainty {np.mean(bits):.2f} bits a frame")


if __name__ == "__main__":
    main()
