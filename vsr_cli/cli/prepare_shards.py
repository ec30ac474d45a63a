"""`vsr prepare --shards N`: the shares of the images, each stored by a process or job of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import say, warn
from ..files.atomic import remove
from ..progress import progress

if TYPE_CHECKING:
    from ..ablation.engines import Started

PAUSE = 0.2
"""Seconds between two looks at the running shards."""
OPTIONS = {"--shards": 1, "--launcher": 1, "--job": None, "--json": 0}
"""The options of this command that its shards do not get, and how many words follow each; None: all up to an option."""


def store_shards(words: Sequence[str], folder: Path, *, shards: int, launcher: str, job: Sequence[str]) -> None:
    """Run `vsr WORDS --shard I/N` for each share of a folder, all at once, and wait for them.

    `words` are those of this command. A share that fails costs a warning: the images that it lacks are stored
    afterwards, by this process. Raises VsrError if the launcher cannot be used; SystemExit after a signal.
    """
    from ..ablation.engines import make_engine
    from ..ablation.running import last_error
    from ..training.graceful_shutdown import graceful_shutdown

    logs = folder.with_name(f"{folder.name}.logs")
    engine = make_engine(launcher, job, jobs=shards, folder=logs / "jobs")  # refuses settings before anything is made
    logs.mkdir(parents=True, exist_ok=True)
    plain = words_of_shard(words)
    files = {f"{number}/{shards}": logs / f"shard-{number}.log" for number in range(1, shards + 1)}
    say(f"storing {shards} shards; their logs are in {logs}")
    started: dict[str, Started] = {}
    with graceful_shutdown() as wish:
        try:
            for shard, log in files.items():
                log.write_text("", encoding="utf-8")
                started[shard] = engine.start([*plain, "--shard", shard], log)
            with progress() as bar:
                task = bar.add_task("shards", total=shards)
                while not all(each.done() for each in started.values()) and not wish.signal:
                    bar.update(task, completed=sum(f"shard {shard}: " in _text(files[shard]) for shard in started))
                    time.sleep(PAUSE)
        finally:
            for each in started.values():
                if not each.done():
                    each.stop()
    if wish.signal:
        say("interrupted; what is stored is not stored again by the same command")
        raise SystemExit(128 + wish.signal)
    failed = [shard for shard, log in files.items() if f"shard {shard}: " not in _text(log)]
    for shard in failed:
        warn(
            f"shard {shard} has failed: {last_error(files[shard], 0)} (log: {files[shard]}); it is stored here instead"
        )
    if not failed:
        remove(logs)


def words_of_shard(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without the options that distribute it."""
    plain: list[str] = []
    skipped: int | None = 0
    for position, word in enumerate(words):
        if word == "--":
            return [*plain, *words[position:]]
        option = word.partition("=")[0]
        if word.startswith("-"):
            skipped = 0
        if option in OPTIONS:
            skipped = 0 if word != option and OPTIONS[option] == 1 else OPTIONS[option]
        elif skipped is None:
            continue
        elif skipped:
            skipped -= 1
        else:
            plain.append(word)
    return plain


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
