"""A GPU that is none: tensors that say they are on one, refuse to mix with others, and are computed on the CPU.

It shows without a GPU what would fail there, as tensors of two devices that meet in an operation, and how often the
program would wait for the GPU: `PretendGpu.waits` names the operations. Values are those of the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
aten = torch.ops.aten
READS_INDICES = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""They take indices from another device."""
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim"}
waits: list[str] = []
"""The operations of the innermost `PretendGpu` for which the program would wait for the GPU."""


class OnGpu(Tensor):
    """A tensor that says it is on a GPU."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnGpu":
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.held!r})"

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        others = [each for each in tensors if not isinstance(each, OnGpu)]
        name = func.overloadpacket.__name__
        if func is aten.copy_.default and others:
            waits.append("copy between devices")
        elif func in READS_INDICES:
            indices = [each for each in args[1] if each is not None]
            if any(not isinstance(each, OnGpu) for each in indices):
                waits.append(f"{name} by indices of the CPU")
            elif any(each.dtype == torch.bool for each in indices):
                waits.append(f"{name} by a mask")
            others = [each for each in others if all(each is not index for index in indices)]
        elif name in WAITING:
            waits.append(name)
        elif func is aten.index_fill_.int_Scalar and others:  # a list of indices, which torch would send to the GPU
            waits.append("index_fill_ by a list")
            others = []
        if (mixed := [each for each in others if each.dim()]) and func is not aten.copy_.default:
            raise RuntimeError(f"{func}: tensors of cuda and of cpu ({tuple(mixed[0].shape)})")
        found = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        found = tree_map(_on_gpu, found)
        if func is aten.copy_.default:
            return args[0]
        return return_and_correct_aliasing(func, args, kwargs, found)


def _on_gpu(value: Any) -> Any:
    # A wrapper does not know that what it holds is conjugated when it is read.
    return OnGpu(value.resolve_conj().resolve_neg()) if isinstance(value, Tensor) else value


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnGpu) else value


class PretendGpu(TorchFunctionMode):
    """Makes and moves tensors where the device of a call is a GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in ("to", "cpu", "cuda"):
            return self._moved(name, args, kwargs)
        if name in ("tolist", "numpy") and isinstance(args[0], OnGpu):
            if name == "numpy":
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            waits.append("tolist")
            return args[0].held.tolist()
        if name == "pin_memory":
            pinned = args[0].clone()
            pinned.is_in_pinned_memory = True
            return pinned
        if name == "pad_sequence":  # it makes its result by itself, where no mode sees it
            rows = args[0]
            longest = max(len(row) for row in rows)
            ends = [(0, 0) * (row.dim() - 1) + (0, longest - len(row)) for row in rows]
            return torch.stack([nn.functional.pad(row, end) for row, end in zip(rows, ends, strict=True)])
        if name == "new_tensor" and isinstance(args[0], OnGpu):
            waits.append("new_tensor")
            return OnGpu(args[0].held.new_tensor(*args[1:], **kwargs))
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            kwargs.pop("device")
            if name in ("tensor", "as_tensor"):
                waits.append(name)
            made = func(*args, **kwargs)
            return made if isinstance(made, OnGpu) else OnGpu(made)
        return func(*args, **kwargs)

    def _moved(self, name: str, args: Any, kwargs: Any) -> Tensor:
        tensor, *rest = args
        wanted = {"cpu": torch.device("cpu"), "cuda": GPU}.get(name) or kwargs.pop("device", None)
        left = []
        for each in rest:
            if isinstance(each, Tensor):
                wanted = each.device
                left.append(each.dtype)
            elif isinstance(each, torch.device) or (isinstance(each, str) and not left):
                wanted = torch.device(each)
            elif each is not None:
                left.append(each)
        wanted = tensor.device if wanted is None else torch.device(wanted)
        kept = {key: value for key, value in kwargs.items() if key != "non_blocking"}
        same = wanted.type == tensor.device.type
        if not same and not (getattr(tensor, "is_in_pinned_memory", False) and kwargs.get("non_blocking")):
            waits.append(f"copy to {wanted.type}")
        if same:
            return Tensor.to(tensor, *left, **kept) if left or kept else tensor
        assert not (tensor.requires_grad and torch.is_grad_enabled()), "no gradient passes between devices here"
        moved = _held(tensor.detach()).clone()
        moved = moved.to(*left, **kept) if left or kept else moved
        return OnGpu(moved) if wanted.type == "cuda" else moved


@contextmanager
def pretend_gpu() -> Iterator[list[str]]:
    """Let a block see a GPU; yield the operations for which it waits for the GPU, a list that grows."""
    waits.clear()
    with PretendGpu():
        yield waits


def to_gpu(value: Any) -> Any:
    """Return a tensor, or a dataclass of tensors such as a batch, on the GPU; move the weights of a module there."""
    if isinstance(value, nn.Module):
        moved: dict[int, nn.Parameter] = {}
        for module in value.modules():
            for name, weight in list(module._parameters.items()):
                if weight is not None and not isinstance(weight, OnGpu):
                    made = moved.setdefault(
                        id(weight), nn.Parameter(OnGpu(weight.detach().clone()), requires_grad=weight.requires_grad)
                    )
                    setattr(module, name, made)
            for name, buffer in list(module._buffers.items()):
                if buffer is not None and not isinstance(buffer, OnGpu):
                    module._buffers[name] = OnGpu(buffer.clone())
        return value
    if isinstance(value, Tensor):
        return OnGpu(value.detach().clone())
    if callable(value):
        return lambda: to_gpu(value())
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{name: to_gpu(each) for name, each in vars(value).items()})
    return value
