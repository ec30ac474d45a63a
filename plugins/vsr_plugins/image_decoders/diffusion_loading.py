"""Load a text-to-image pipeline of the diffusers library from the Hub, a folder or the assets of a run.

Its components are loaded one by one and not by the library's `DiffusionPipeline`, which would import classes that the
index of a pipeline names from anywhere.
"""

from __future__ import annotations

import inspect
import json
import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vsr_cli.api import VsrError, one_line, quiet, refuse_foreign_code, refuse_missing_tensors

from ..library_errors import UNLOADABLE
from . import DiffusionOptions
from .diffusion_files import INDEX, REMEDY, missing_pipeline, pipeline_folder, read_index, used_components, variant_of

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WHO = "image decoder diffusion"
NEEDED = ("vae", "text_encoder", "tokenizer", "scheduler", "unet", "transformer")
"""Components without which a pipeline cannot be used, where its class has them."""


def load_pipeline(options: DiffusionOptions) -> Any:
    """Load the pipeline of a Hub id or a folder, on the CPU. Raises VsrError if that fails."""
    _require_diffusers()
    for missing in missing_pipeline(options.model):
        if missing.fetch is None:
            raise VsrError(f"{WHO}: {missing.what}: {missing.problem}; {missing.remedy}")
        try:
            missing.fetch(lambda count: None)
        except (OSError, ValueError) as error:
            raise VsrError(f"{WHO}: {missing.what}: {one_line(error)}; {missing.remedy}") from error
    folder = pipeline_folder(options.model)
    assert folder is not None, "a pipeline that is neither a folder nor in the cache has been downloaded"
    return _build(folder, options, dtype=_dtype(options))


def read_assets(folder: Path, options: DiffusionOptions) -> Any:
    """Build the architecture of a run's pipeline, whose weights are loaded later."""
    _require_diffusers()
    return _build(folder, options, dtype=None)


def write_assets(folder: Path, pipeline: Any, *, scheduler: Any) -> None:
    """Write the pipeline's index, its configurations with that of its own scheduler, and its tokenizers."""
    index: dict[str, Any] = {"_class_name": type(pipeline).__name__}
    with quiet_library():
        for name, part in sorted((pipeline.components | {"scheduler": scheduler}).items()):
            if part is None:
                continue
            is_model, library = isinstance(part, torch.nn.Module), type(part).__module__.partition(".")[0]
            index[name] = [library, type(part).__name__]
            (folder / name).mkdir()
            if library == "transformers":
                (part.config if is_model else part).save_pretrained(folder / name)
            else:
                facts = {key: value for key, value in part.config.items() if not key.startswith("_")}
                if facts.get("encoder_hid_dim_type") == "ip_image_proj":
                    facts["encoder_hid_dim_type"] = None  # an IP-Adapter sets it
                _write(folder / name / ("config.json" if is_model else "scheduler_config.json"), facts)
            if is_model:
                index["dtype"] = next(key for key, value in DTYPES.items() if value == part.dtype)
    _write(folder / INDEX, index)


def _require_diffusers() -> None:
    try:
        import diffusers  # noqa: F401
    except ImportError as error:
        raise VsrError(
            f"{WHO}: needs diffusers, which is not installed; pip install 'vsr-cli[diffusers]', or choose another "
            "--image-decoder"
        ) from error


def _dtype(options: DiffusionOptions) -> torch.dtype:
    """Return the type of the weights."""
    if options.dtype != "auto":
        return DTYPES[options.dtype]
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _build(folder: Path, options: DiffusionOptions, *, dtype: torch.dtype | None) -> Any:
    """Build a pipeline from a folder, its weights in `dtype`; without weights, and in the recorded type, if None."""
    place = options.model if dtype else str(folder)
    remedy = REMEDY if dtype else "restore the run's folder, or train again"
    try:
        index = read_index(folder)
        kind = _pipeline_class(index.get("_class_name"), place, starts_from_image=options.strength is not None)
        named = used_components(index)
        arguments = _other_arguments(kind, named)
        with quiet_library():
            for name, where in named.items():
                kept = dtype or DTYPES[index["dtype"]]
                arguments[name] = load_component(folder / name, *where, dtype=kept, weights=bool(dtype))
            pipeline = kind(**arguments)
    except UNLOADABLE as error:
        raise VsrError(f"{WHO}: cannot load {place} ({one_line(error)}); {remedy}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _pipeline_class(name: Any, place: str, *, starts_from_image: bool) -> Any:
    """Return the class of the library that generates from a text, or from a text and an image.

    Raises VsrError if there is none.
    """
    from diffusers.pipelines.auto_pipeline import (
        AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    )

    both = (AUTO_TEXT2IMAGE_PIPELINES_MAPPING, AUTO_IMAGE2IMAGE_PIPELINES_MAPPING)
    families = [family for kinds in both for family, kind in kinds.items() if kind.__name__ == name]
    found = both[starts_from_image].get(families[0]) if families else None
    if found is None and families and starts_from_image:
        raise VsrError(
            f"image_decoder.strength: {name} of {place} cannot start from an image; leave the option out, or choose "
            "another image_decoder.model"
        )
    if found is None:
        raise VsrError(
            f"{WHO}: {place} is no text-to-image pipeline that diffusers knows (got {name}); choose another by --set "
            "image_decoder.model=..., e.g. stabilityai/sd-turbo"
        )
    return found


def load_component(folder: Path, library: str, name: str, *, dtype: torch.dtype, weights: bool) -> Any:
    """Load a component of a pipeline from its folder, without weights unless asked for.

    Only classes of diffusers and transformers are built, and only models, schedulers and tokenizers. Raises VsrError if
    a model would run its own code or lacks weights, and errors of the libraries.
    """
    import diffusers
    import transformers
    from transformers.initialization import no_init_weights

    refuse_foreign_code(folder)
    kind = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), name, None)
    if not isinstance(kind, type):
        raise ValueError(f"{folder.name} is of {name} of {library}, which is no class of diffusers or transformers")
    known: Any = kind
    if issubclass(kind, diffusers.SchedulerMixin):
        return known.from_config(_read(folder / "scheduler_config.json"), trust_remote_code=False)
    if issubclass(kind, transformers.PreTrainedTokenizerBase):
        return known.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not issubclass(kind, diffusers.ModelMixin | transformers.PreTrainedModel):
        raise ValueError(f"{folder.name} is of {name}, which is neither model, scheduler nor tokenizer")
    if weights:
        variant = variant_of(folder)
        if variant is None:
            raise OSError(f"{folder.name} has no weights in safetensors")
        name_of_type = "dtype" if library == "transformers" else "torch_dtype"
        model, report = known.from_pretrained(
            folder,
            variant=variant or None,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **{name_of_type: dtype},
        )
        refuse_missing_tensors(WHO, str(folder), report["missing_keys"], option="image_decoder.model")
        for tensor in model.parameters():
            # Out of the file's memory map, where it is aligned otherwise than when a run loads it: sums would differ.
            tensor.data = tensor.data.clone()
        return model
    with no_init_weights():
        if library == "diffusers":
            return known.from_config(_read(folder / "config.json"), trust_remote_code=False).to(dtype)
        return known(known.config_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False)).to(
            dtype
        )


def _other_arguments(kind: Any, named: Collection[str]) -> dict[str, Any]:
    """Return the arguments of a pipeline's class beside the named components.

    Raises ValueError if one of these is not its own, or one that it needs is not named.
    """
    accepted = dict(list(inspect.signature(kind.__init__).parameters.items())[1:])  # without self
    if strange := [name for name in named if name not in accepted]:
        raise ValueError(f"{INDEX} names {strange[0]}, which is no component of {kind.__name__}")
    needed = [name for name, value in accepted.items() if value.default is inspect.Parameter.empty]
    if missing := [name for name in needed if name in NEEDED and name not in named]:
        raise ValueError(f"{INDEX} names no {missing[0]}")
    plain = {name: False for name in ("requires_safety_checker", "add_watermarker") if name in accepted}
    return dict.fromkeys(needed) | plain


def other_scheduler(name: str, scheduler: Any) -> Any:
    """Return a scheduler of another class with the same settings. Raises VsrError if it does not fit the pipeline."""
    import diffusers

    # Without one that takes its noise from a library of its own, and not from our random generators.
    compatible = sorted({kind.__name__ for kind in scheduler.compatibles} - {"DPMSolverSDEScheduler"})
    if name not in compatible:
        raise VsrError(
            f"image_decoder.scheduler: no scheduler of diffusers for this pipeline (got {name}); choose one of "
            f"{', '.join(compatible)}"
        )
    return getattr(diffusers, name).from_config(scheduler.config, trust_remote_code=False)


@contextmanager
def quiet_library() -> Iterator[None]:
    """Disable progress bars, log messages and warnings of diffusers."""
    with quiet(below=logging.CRITICAL), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about settings of old pipelines, which diffusers corrects
        yield


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
