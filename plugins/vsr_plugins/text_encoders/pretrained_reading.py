"""How a pretrained text encoder is meant to be read: what stands for a text, and how much fits it at a time."""

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
"""Kinds that know no first token, and read their padding: each window is as long as they can read."""
LAST = ("clip_text_model", *SIGLIPS)
"""Kinds whose last state stands for the text (Radford et al., 2021; Zhai et al., 2023)."""
FILE = "reading.json"
MODES = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean", "lasttoken": "last"}
"""How sentence-transformers writes poolings, and what they are called here."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model's folder or kind says of its use."""

    pooling: str
    """cls, mean or last."""
    window: int | None
    """Most tokens at a time that it was meant for, the first and last included; None: as many as it can."""

    def save(self, folder: Path) -> None:
        """Write it to a file that `kept` reads."""
        (folder / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def kept(cls, folder: Path, options: HfTextOptions) -> Reading:
        """Return what a run was trained with, from its assets."""
        if not (folder / FILE).exists():  # of a run from before there was anything to find out
            return cls(pooling=options.pooling, window=None)
        return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))


def find_reading(options: HfTextOptions, config: Any) -> Reading:
    """Find out how a model is read: by the options, by its sentence-transformers files, or by its kind.

    Raises VsrError if those files cannot be had or ask for another pooling.
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
            f"text encoder: cannot find out how {options.model} is pooled ({one_line(error)}); "
            "say it by --set text.pooling=cls, mean or last"
        ) from error
    return Reading(pooling=pooling, window=limits.get("max_seq_length"))


def pooling_of(facts: dict[str, Any]) -> str:
    """Return the pooling that a sentence-transformers file asks for. Raises ValueError if it is none of ours."""
    asked = [name.removeprefix("pooling_mode_") for name, on in facts.items() if on is True and "pooling_mode_" in name]
    if isinstance(facts.get("pooling_mode"), str):
        asked = [facts["pooling_mode"]]
    if len(asked) != 1 or asked[0] not in MODES:
        raise ValueError(f"its pooling is {' and '.join(asked) or 'not named'}")
    return MODES[asked[0]]


def read_json(model: str, name: str) -> Any:
    """Read a JSON file of a folder or hub id; None where there is no such file. Raises OSError or ValueError."""
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
    """Part tokens into as few windows of at most `room` as there need be, as equal as can be; one at least."""
    count = max(1, -(-len(tokens) // room))
    ends = [len(tokens) * number // count for number in range(count + 1)]
    return [tokens[start:end] for start, end in pairwise(ends)]
