"""Writing a model as ONNX files, each compared with torch before it is kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..api import Vocabulary, WritesByStep, quiet
from ..config.choices import Resize
from ..console import say
from ..errors import VsrError, one_line
from ..files.atomic import is_empty, replacing_folder, write_json
from ..model.frozen_store import build_frozen_halves
from ..model.story_model import StoryModel
from .graphs import Graph, graphs_of, naming

FORMAT = 1
ABOUT = "export.json"
TOKENIZER, DECODER_TOKENIZER = "tokenizer.json", "decoder_tokenizer.json"
TOLERANCE = 1e-4
"""Largest difference of onnxruntime from torch; relative to the largest value of an output, where that exceeds 1."""
OPSET = 18
LARGEST = 2**31 - 2**27
"""Bytes of weights that fit into one file; a protocol buffer has at most 2 GiB."""
EXAMPLES = ("The boy found a kite.", "It rained!", "She ran home, and her dog ran after her.", "Nobody saw them")
"""Texts that graphs are exported and checked with: of several lengths."""
DTYPES = {torch.float32: "float32", torch.int64: "int64", torch.uint8: "uint8", torch.bool: "bool"}


def check_target(folder: Path) -> None:
    """Raise VsrError if the folder to write has something in it."""
    if folder.exists() and not (folder.is_dir() and is_empty(folder)):
        raise VsrError(f"--onnx {folder}: exists and is not an empty folder; name another, nothing is overwritten")


def export_onnx(
    model: StoryModel,
    folder: Path,
    *,
    names: Mapping[str, str],
    run: str,
    steps: int,
    image_size: int,
    resize: Resize,
) -> dict[str, Any]:
    """Write a model, which is on the CPU in eval mode, as ONNX graphs with what describes them; return the latter.

    `names` are the components' names in errors, by section. Raises VsrError, naming the component, if one cannot be
    exported or computes something else outside torch; nothing is written then.
    """
    check_target(folder)
    build_frozen_halves(model)  # a graph holds the weights of its module
    texts = [text for text, _ in zip(EXAMPLES * 2 * steps, range(2 * steps), strict=False)]
    graphs = graphs_of(model, names=names, steps=steps, image_size=image_size, texts=texts)
    with naming(names["text"]):
        _check_tokenizer(model, texts)
    assert isinstance(model.text_decoder, WritesByStep)
    with replacing_folder(folder) as temporary:
        differences = {}
        for graph in graphs:
            say(f"exporting {graph.file}: {', '.join(names[part] for part in graph.parts)}")
            with naming(*(names[part] for part in graph.parts)):
                _write(graph, temporary / graph.file)
                differences[graph.name] = _check(graph, temporary / graph.file)
        record = {
            "format": FORMAT,
            "vsr": __version__,
            "run": run,
            "context_frames": steps,
            "image_size": image_size,
            "resize": resize,
            **_vocabularies(model, temporary),
            "graphs": {
                graph.name: {**_described(graph), "largest_difference": differences[graph.name]} for graph in graphs
            },
        }
        write_json(temporary / ABOUT, record, seal=False)
    return record


def _vocabularies(model: StoryModel, folder: Path) -> dict[str, Any]:
    """Write the tokenizers, and return what else is needed to read a text and to write one."""
    decoder = model.text_decoder
    assert isinstance(decoder, WritesByStep)
    read, written = model.text.vocabulary, decoder.vocabulary
    read.save(folder / TOKENIZER)
    same = written.tokenizer.to_str() == read.tokenizer.to_str()
    if not same:
        written.save(folder / DECODER_TOKENIZER)
    length = model.text.tokenize([""]).ids.shape[1]
    return {
        "text": {"tokenizer": TOKENIZER, "length": length, "pad": read.pad, "bos": read.bos, "eos": read.eos},
        "decoder": {
            "tokenizer": TOKENIZER if same else DECODER_TOKENIZER,
            "length": decoder.length,
            "bos": written.bos,
            "eos": written.eos,
            "never_generated": written.never_generated,
        },
    }


def _check_tokenizer(model: StoryModel, texts: Sequence[str]) -> None:
    """Raise VsrError if the text encoder tokenizes otherwise than its vocabulary, which is what others can do."""
    found = model.text.tokenize(texts)
    vocabulary: Vocabulary = model.text.vocabulary
    plain = vocabulary.encode(texts, length=found.ids.shape[1])
    if not (np.array_equal(found.ids, plain.ids) and np.array_equal(found.mask, plain.mask)):
        raise VsrError("it tokenizes in a way of its own")


def _write(graph: Graph, path: Path) -> None:
    """Export a graph. Raises VsrError with the exporter's reason if it cannot be."""
    bytes_ = sum(each.nbytes for each in (*graph.module.parameters(), *graph.module.buffers()))
    free = {0: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), quiet(), torch.no_grad(), _plain_attention():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph.module.eval(),
                tuple(graph.inputs.values()),
                path,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=_free(graph, free),
                external_data=bytes_ > LARGEST,
                verbose=False,
                optimize=True,
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError) as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # what torch reports beneath the exporter's summary
                cause = cause.__cause__
            raise VsrError(one_line(cause)) from error


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Leave out torch's fused transformer layers within the block, which cannot be exported."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _free(graph: Graph, free: Mapping[int, Any]) -> Any:
    """Return which dimensions of the inputs are free, in the form of the module's arguments."""
    named = 2 if graph.name == "story" else 1 if graph.name == "step" else len(graph.inputs)
    first, rest = [free] * named, [free] * (len(graph.inputs) - named)
    return (*first, tuple(rest)) if graph.name in ("story", "step") else tuple(first)


def _check(graph: Graph, path: Path) -> float:
    """Return the largest difference of the graph in onnxruntime from torch. Raises VsrError if it is too large.

    Inputs and their number are others than those that it was exported with.
    """
    import onnxruntime

    inputs = {name: torch.cat([each.flip(0), each[:1]]) for name, each in graph.inputs.items()}
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = session.run(list(graph.outputs), {name: each.numpy() for name, each in inputs.items()})
    except (RuntimeError, ValueError, onnxruntime.capi.onnxruntime_pybind11_state.Fail) as error:
        raise VsrError(f"onnxruntime does not run it ({one_line(error)})") from error
    with torch.no_grad():
        expected = graph.module(*inputs.values())
    largest = 0.0
    for name, other, own in zip(graph.outputs, found, _tuple(expected), strict=True):
        if tuple(other.shape) != tuple(own.shape):
            raise VsrError(f"its {name} depends on the size of the batch (got shape {tuple(other.shape)})")
        if not own.numel():
            continue
        difference = np.abs(own.double().numpy() - other.astype(np.float64)).max()
        relative = float(difference / max(1.0, own.double().abs().max().item()))
        if not relative <= TOLERANCE:
            raise VsrError(f"its {name} differs by {relative:.2g} outside torch")
        largest = max(largest, relative)
    return largest


def _described(graph: Graph) -> dict[str, Any]:
    """Return the file of a graph, and the names, types and shapes of its inputs and outputs; "N" is any number."""
    with torch.no_grad():
        outputs = _tuple(graph.module(*graph.inputs.values()))
    return {
        "file": graph.file,
        "inputs": {name: _tensor(each) for name, each in graph.inputs.items()},
        "outputs": {name: _tensor(each) for name, each in zip(graph.outputs, outputs, strict=True)},
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": DTYPES.get(tensor.dtype, str(tensor.dtype)), "shape": ["N", *tensor.shape[1:]]}


def _tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs
