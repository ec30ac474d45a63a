"""Pooling and window length of a pretrained text encoder, from options, files or model type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vsr_cli.api import VsrError, one_line

from . import HfTextOptions

SIGLIPS = ("siglip_text_model", "siglip2_text_model")
"""Model types without bos that read padding: each window has the full input length."""
LAST = ("clip_text_model", *SIGLIPS)
"""Model types that pool the last state (Radford et al., 2021; Zhai et al., 2023)."""
FILE = "reading.json"
MODES = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean", "lasttoken": "last"}
"""Names of poolings in sentence-transformers, and ours."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Pooling and window length of a model."""

    pooling: str
    """cls, mean or last."""
    window: int | None
    """Intended longest input in tokens, special tokens included; None: the longest possible."""

    def save(self, folder: Path) -> None:
        """Write it to a file that `load` reads."""
        (folder / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, options: HfTextOptions) -> Reading:
        """Return that of a run, from its assets."""
        if not (folder / FILE).exists():  # an old run
            return cls(pooling=options.pooling, window=None)
        return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))


def find_reading(options: HfTextOptions, config: Any) -> Reading:
    """Return pooling and window by the options, sentence-transformers files, or the model type.

    Raises VsrError if those files cannot be read or have an unsupported pooling.
    """
    if options.pooling != "own":
        return Reading(pooling=options.pooling, window=None)
    by_kind = "last" if config.model_type in LAST else "mean"
    if options.weights == "random":
        return Reading(pooling=by_kind, window=None)
    try:
        modules: Any = read_json(options.model, "modules.json") or []
        place = next((each["path"] for each in modules if each["type"].endswith(".Pooling")), None)
        pooling = by_kind if place is None else pooling_of(read_json(options.model, f"{place}/config.json") or {})
        limits = read_json(options.model, "sentence_bert_config.json") or {} if modules else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise VsrError(
            f"text encoder: cannot determine the pooling of {options.model} ({one_line(error)}); "
            "choose it by --set text.pooling=cls, mean or last"
        ) from error
    return Reading(pooling=pooling, window=limits.get("max_seq_length"))


def pooling_of(facts: dict[str, Any]) -> str:
    """Return the pooling of a sentence-transformers file. Raises ValueError if it is not supported."""
    asked = [name.removeprefix("pooling_mode_") for name, on in facts.items() if on is True and "pooling_mode_" in name]
    if isinstance(facts.get("pooling_mode"), str):
        asked = [facts["pooling_mode"]]
    if len(asked) != 1 or asked[0] not in MODES:
        raise ValueError(f"its pooling is {' and '.join(asked) or 'not named'}")
    return MODES[asked[0]]


def read_json(model: str, name: str) -> Any:
    """Read a JSON file of a folder or Hub id; None if there is none. Raises OSError or ValueError."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    if Path(model).is_dir():
        path = Path(model, name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if try_to_load_from_cache(model, name) is _CACHED_NO_EXIST:
        return None
    try:
        return json.loads(Path(hf_hub_download(model, name)).read_text(encoding="utf-8"))
    except RemoteEntryNotFoundError:
        return None


def in_windows(tokens: Sequence[int], *, room: int) -> list[Sequence[int]]:
    """Split tokens into the fewest windows of at most `room` tokens, of nearly equal length; at least one."""
    count = max(1, -(-len(tokens) // room))
    ends = [len(tokens) * number // count for number in range(count + 1)]
    return [tokens[start:end] for start, end in pairwise(ends)]
