"""Saving and loading weights: frozen ones once per run, all others in each checkpoint."""

from __future__ import annotations

from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..api import FoldsUpdates
from ..api.finite import weight_not_finite
from ..config.experiment import TrainConfig, resolve_recorded
from ..errors import VsrError
from ..files.atomic import replacing, writing
from ..offline import no_network
from ..plugin.registry import Registry
from ..runs.run import FROZEN, WEIGHTS, Run
from ..system_errors import refuse_system_error
from .building import build_model
from .frozen_store import pending_halves
from .story_model import StoryModel
from .tensor_files import write_tensors


def frozen_names(model: nn.Module) -> set[str]:
    """Return the entries of a state dict that training never changes.

    These are the parameters that require no gradient, and the buffers of modules that have parameters and all of
    them frozen: a frozen batch norm stays in eval mode, so its statistics are frozen with it.
    """
    parameters = model.named_parameters(remove_duplicate=False)  # a tied weight has several names
    names = {name for name, parameter in parameters if not parameter.requires_grad}
    for prefix, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            names |= {f"{prefix}.{name}".lstrip(".") for name, _ in module.named_buffers(recurse=False)}
    return names & model.state_dict().keys()


def parameter_counts(model: StoryModel) -> dict[str, int]:
    """Return the numbers of trainable parameters, "trained", and of all others, "frozen"."""
    parameters = list(model.parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    pending = sum(half.parameters for _, half in pending_halves(model))
    return {"trained": trained, "frozen": sum(each.numel() for each in parameters) - trained + pending}


def save_weights(model: nn.Module, path: Path, *, frozen: bool) -> None:
    """Write a model's frozen weights, or all the others, to a safetensors file.

    Raises VsrError if a weight is not finite, or the file cannot be written.
    """
    if found := weight_not_finite(model):
        raise VsrError(f"{path}: not written, since {found} holds numbers that are not finite; train anew")
    chosen = frozen_names(model)
    state = {name: tensor for name, tensor in model.state_dict().items() if (name in chosen) == frozen}
    with replacing(path) as temporary, writing(path):
        write_tensors(state, temporary)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises VsrError if it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        refuse_system_error(error, path)
        raise VsrError(f"{path}: these weights cannot be read ({error}); restore the file or train anew") from error


def load_model(run: Run, registry: Registry, *, which: str = "best") -> StoryModel:
    """Rebuild a run's model for prediction, from its folder alone. Without a best checkpoint, take the last one.

    Raises VsrError if a plugin that it was trained with is not installed, or the weights do not fit.
    """
    record = run.config()
    config = resolve_recorded(
        registry,
        record,
        where=str(run.folder / "config.json"),
        distributions=run.facts()["distributions"].values(),
    )
    which = run.which_checkpoint(which)
    data = record["data"]
    model = rebuild_model(
        run, config, image_size=int(data["image_size"]), steps=int(data["context_frames"]), which=which
    )
    for part in model.children():
        if isinstance(part, FoldsUpdates):
            part.fold_updates()
    return model


def rebuild_model(run: Run, config: TrainConfig, *, image_size: int, steps: int, which: str) -> StoryModel:
    """Build a run's model from its assets and load a checkpoint.

    Raises VsrError if the weights do not fit or are not finite.
    """
    run.verify(which)
    with no_network(str(run.folder)):
        halves = run.frozen_halves()
        model = build_model(config, image_size=image_size, steps=steps, assets=run.assets, halves=halves)
    checkpoint = run.checkpoint(which)
    state = load_weights(run.folder / FROZEN) | load_weights(checkpoint / WEIGHTS)
    for section in halves.keys() - {section for section, _ in pending_halves(model)}:  # its plugin has built it
        tensors = load_weights(halves[section].weights)
        state |= {f"{section}.{name}": tensor for name, tensor in tensors.items()}
    expected = model.state_dict()
    for name in sorted(expected.keys() & state.keys()):
        if state[name].dtype != expected[name].dtype:
            raise VsrError(
                f"{checkpoint}: {name} is of {state[name].dtype}, and the model's is of {expected[name].dtype}; "
                f"restore the file, or train anew"
            )
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise VsrError(
            f"{checkpoint}: the weights do not fit the model ({reason}); install the plugin versions that "
            f"{run.folder / 'run.json'} names"
        ) from error
    if found := weight_not_finite(model):
        best = run.checkpoint("best")
        remedy = f"'vsr evaluate' and 'vsr predict' read {best}" if which == "last" and best.is_dir() else "train anew"
        raise VsrError(f"{checkpoint}: {found} holds numbers that are not finite; {remedy}")
    return model.eval()


def choose_device(name: str, *, where: str = "training.device") -> torch.device:
    """Return the device of this name, or the best one for "auto"; "cuda:1" is a certain GPU.

    A GPU then computes in single precision whatever is not asked for in another, such as features, which it shares with
    processors through the cache: by default, cuDNN keeps 10 bits of the factors (TF32). Raises VsrError, beginning with
    `where`, if the device is not available.
    """
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind, _, number = name.partition(":")
    if (number or "0").isdecimal() and int(number or 0) < available.get(kind, 0):
        torch.backends.cudnn.allow_tf32 = False
        return torch.device(name)
    raise VsrError(f"{where}: {name} is not available on this machine; use auto or cpu")
