"""Frozen features of all cells of an ablation, computed and cached before any cell trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..config.experiment import TrainConfig
from ..data.cache.extraction import frozen_features
from ..data.prepared import Prepared
from ..files.strict_json import to_json
from ..model.frozen_store import FrozenStore
from ..model.parts import build_part
from ..model.weights import choose_device
from ..plugin.kinds import ENCODERS


def cache_features(configs: Iterable[TrainConfig], prepared: Prepared, splits: Sequence[str]) -> None:
    """Compute the frozen features of some splits with all encoders, unless they are cached.

    Raises VsrError if an encoder cannot be built.
    """
    from accelerate.utils import set_seed

    done: set[str] = set()
    for config in configs:
        choices = [config.parts[section] for section in ENCODERS]
        shared = [[choice.record() for choice in choices], config.model.width, config.features.model_dump()]
        pair, with_seed = to_json(shared), to_json([*shared, config.training.seed])
        if done & {pair, with_seed}:
            continue
        # As in training, so that an encoder with random weights is the same as in the run of this seed.
        set_seed(config.training.seed)
        sizes: dict[str, Any] = {
            "width": config.model.width,
            "image_size": prepared.image_size,
            "steps": prepared.context_frames,
        }
        store = FrozenStore(options=config.features)
        visual, text = (
            build_part(section, choice, training_texts=prepared.training_texts, store=store, **sizes)
            for section, choice in zip(ENCODERS, choices, strict=True)
        )
        if visual.cache_key is None and text.cache_key is None:
            done.add(pair)  # nothing is frozen, whatever the seed
            continue
        device = choose_device(config.training.device)
        frozen_features(
            prepared, visual.to(device), text.to(device), device=device, options=config.features, splits=splits
        )
        done.add(with_seed)
