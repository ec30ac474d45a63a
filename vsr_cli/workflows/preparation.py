"""Prepare stories: read, split and store them, and compute the frozen features of the encoders."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..distributed_env import is_main
from ..errors import VsrError
from ..files.names import own_name
from ..quantities import counted
from .stories import open_checked, open_dataset, read_stories

if TYPE_CHECKING:
    from ..config.experiment import PrepareConfig
    from ..data.preparation.reading import Work
    from ..data.prepared import Prepared
    from ..model.story_model import StoryModel

TRAINABLE = "trainable throughout, so it has no frozen features to cache"


def default_folder(source: str | None, dataset: str) -> Path:
    """Name the prepared folder after its source."""
    from ..data.manifest import DATA

    name = own_name(Path(source)) if source and Path(source).exists() else dataset
    return DATA / (name or dataset)


def run_prepare(
    config: PrepareConfig, source: str | None, folder: Path, *, trained: Callable[[], StoryModel] | None = None
) -> Prepared:
    """Read, check, split and store the stories, then compute the encoders' frozen features.

    `trained` loads the model of a run, whose encoders are taken. Processes that a launcher has started share the
    decoding and the features among them.
    """
    dataset = open_checked(config, source, encoders=trained is None)
    # What is missing has been reported by now, without waiting for torch.
    import torch

    from ..config.schema import TrainingOptions
    from ..data.cache.encoding import refuse_unsupported
    from ..data.cache.extraction import load_or_compute, text_request, visual_request, warn_truncated_texts
    from ..data.preparation.workers import join_workers
    from ..data.prepared import open_prepared
    from ..data.scratch import tokenized
    from ..data.splits import SPLITS
    from ..model.frozen_store import FrozenStore
    from ..model.parts import build_part
    from ..model.weights import choose_device
    from ..training.memory import tune_allocator

    tune_allocator()
    device = choose_device("auto")
    refuse_unsupported(config.features.compute, device)
    sizes: dict[str, Any] = {
        "width": config.model.width,
        "image_size": config.data.image_size,
        "steps": config.data.context_frames,
    }
    # Encoders of random weights are then those that a train command of the default seed builds.
    torch.manual_seed(TrainingOptions().seed)
    # Built before any story is read: weights that cannot be used are reported at once.
    model = trained() if trained else None
    store = FrozenStore(options=config.features, writes=is_main())
    visual = model.visual if model else build_part("visual", config.visual, training_texts=tuple, store=store, **sizes)
    together = join_workers()
    if together.share.of > 1:
        read_stories(config, dataset, source, folder, share=together.share)
        together.wait()
    tables = None
    if is_main():
        made, work = read_stories(config, dataset, source, folder)
        _report_work(made, work)
        tables = made and made.tables
    together.wait()
    prepared = open_prepared(folder)
    if tables not in (None, prepared.tables):
        raise VsrError(f"{folder}: another process has prepared other data there in the meantime; name another --out")
    windows = [prepared.windows(split) for split in SPLITS]
    if visual.cache_key is None:
        say(f"visual encoder {config.visual.name}: {TRAINABLE}")
    load_or_compute(visual_request(prepared, visual, windows, device=device), config.features, workers=together)
    if model:
        text = model.text
    elif not len(prepared.windows("train")):
        # An encoder that learns its vocabulary has no training texts here, and would differ from the run's.
        say("the train split has no window: features of texts are computed when a run is evaluated on this data")
        return prepared
    else:
        text = build_part("text", config.text, training_texts=prepared.training_texts, store=store, **sizes)
    if text.cache_key is None:
        say(f"text encoder {config.text.name}: {TRAINABLE}")
    warn_truncated_texts(tokenized(text.tokenize, prepared.frames.texts))
    load_or_compute(text_request(prepared, text, windows, device=device), config.features, workers=together)
    return prepared


def run_shard(config: PrepareConfig, source: str | None, folder: Path, shard: str) -> dict[str, Any]:
    """Store one share of the images, "2/4" is the second of four; return what was done, for JSON."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", shard)
    if not match or int(match[1]) > int(match[2]):
        raise VsrError(
            f"--shard {shard}: not of the form i/n with i from 1 to n; the second of four shares is 2/4, for example"
        )
    from ..data.preparation.chunks import Share

    share = Share(int(match[1]) - 1, int(match[2]))
    _, work = read_stories(config, open_dataset(config, source), source, folder, share=share)
    say(
        f"shard {shard}: {counted(work.made, 'story')} stored in {folder}, {work.stories} read; when all {share.of} "
        "shards are stored, run the same command without --shard to combine them"
    )
    return {"folder": str(folder), "shard": shard, "stories_read": work.stories, "stories_stored": work.made}


def _report_work(prepared: Prepared | None, work: Work) -> None:
    assert prepared is not None, "only a share returns no prepared data"
    if not work.read:
        say(f"{prepared.folder}: the source has not changed, so it was not read again")
    elif not work.made:
        say(f"{prepared.folder}: {counted(work.stories, 'story')} stored already, all unchanged")
    elif work.made < work.stories:
        say(f"{prepared.folder}: {work.made} of {work.stories} stories were stored anew, the others are unchanged")
    if not work.made:
        stories = sum(prepared.manifest["counts"]["stories_kept"].values())
        what = "written anew, since the options or the source changed" if work.tables else "unchanged; nothing to do"
        say(f"windows and splits of {counted(stories, 'story')}: {what}")
