"""Speed of the text decoder `lm` and of a plain loop with transformers and peft, on the same work.

    python benchmarks/language_model.py MODEL STORIES        # folders of a causal language model and of stories

Training: windows of five texts, the loss on the last one, LoRA on the top quarter of the layers. The plain loop pads a
batch and computes all layers and all scores in each epoch. Sampling: eight texts for each context, by `generate` of
transformers with `num_return_sequences=8`, and by the decoder. The two alternate, and the best turn of each counts.
Tokens per second: those of the windows in training (padding is none), those generated up to eos in sampling.
On a shared machine, only the ratios within one run are meaningful.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vsr_cli.api import BuildContext, Context, Decoding, Narrative
from vsr_plugins.text_decoders import LmOptions
from vsr_plugins.text_decoders.lm import LmDecoder, build

FRAMES, WIDTH, SAMPLES = 4, 8, 8
SEPARATOR = "\n\n"


def windows(stories: Path, count: int) -> list[list[str]]:
    """Return the first windows of five consecutive texts."""
    found = []
    for folder in sorted(path for path in stories.iterdir() if path.is_dir()):
        texts = [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("*.txt"))]
        found += [texts[start : start + FRAMES + 1] for start in range(len(texts) - FRAMES)]
    return found[:count]


def batches(data: list[list[str]], size: int) -> Iterator[list[list[str]]]:
    """Yield the windows in batches."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def narrative(chosen: list[list[str]]) -> Narrative:
    """Return what the decoder reads of some windows; the vectors are not used."""
    size = len(chosen)
    nothing, ids = torch.zeros(size, FRAMES, WIDTH), torch.zeros(size, FRAMES, 1, dtype=torch.long)
    context = Context(
        visual=nothing,
        text=nothing,
        text_ids=torch.arange(size)[:, None, None].expand(size, FRAMES, 1),
        text_mask=ids == 0,
        mask=torch.ones(size, FRAMES, dtype=torch.bool),
        last_image=torch.zeros(size, 3, 8, 8),
        story=torch.arange(size),
        text_row=torch.arange(size * FRAMES).reshape(size, FRAMES),
        texts=[window[:FRAMES] for window in chosen],
        images=lambda: torch.zeros(size, FRAMES, 3, 8, 8),
    )
    return Narrative(steps=nothing, summary=nothing[:, 0], visual=nothing, text=nothing, context=context)


def decoder(model: Path, **options: Any) -> LmDecoder:
    """Build the decoder without vectors, so that it does the work of the plain loop."""
    torch.manual_seed(0)
    context = BuildContext(width=WIDTH, steps=FRAMES, image_size=8, training_texts=list)
    chosen = LmOptions(model=str(model), image_tokens=0, prefix=0, context_length=2048, length=128, **options)
    return build(chosen, context)


def plain_model(model: Path, *, top: int | None) -> tuple[Any, Any]:
    """Return a model of transformers, with LoRA by peft on its top layers, and its tokenizer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if top is not None:
        layers = list(range(network.config.num_hidden_layers - top, network.config.num_hidden_layers))
        linear = [name for name, each in network.base_model.named_modules() if isinstance(each, torch.nn.Linear)]
        names = sorted({name.split(".")[-1] for name in linear})
        adapted = LoraConfig(r=16, lora_alpha=16, target_modules=names, layers_to_transform=layers)
        network = get_peft_model(network, adapted)
    return network, tokenizer


def train_plain(model: Path, data: list[list[str]], given: argparse.Namespace) -> Callable[[], float]:
    """Return a function that trains for an epoch and returns its last loss."""
    network, tokenizer = plain_model(model, top=given.layers)
    network.train()
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=2e-4)

    def epoch() -> float:
        for batch in batches(data, given.batch_size):
            rows, answers = [], []
            for window in batch:
                context = tokenizer(SEPARATOR.join(window[:FRAMES]) + SEPARATOR)["input_ids"]
                target = [*tokenizer(window[FRAMES])["input_ids"], tokenizer.eos_token_id]
                rows.append(torch.tensor(context + target))
                answers.append(torch.tensor([-100] * len(context) + target))
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
            labels = torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=-100)
            loss = network(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    return epoch


def train_ours(model: Path, data: list[list[str]], given: argparse.Namespace) -> Callable[[], float]:
    """Return a function that trains for an epoch and returns its last loss."""
    network = decoder(model, lora_layers=given.layers, context_loss=0.0)
    network.train()
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=2e-4)

    def epoch() -> float:
        for batch in batches(data, given.batch_size):
            tokens = network.tokenize([window[FRAMES] for window in batch])
            ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
            loss = network.loss(narrative(batch), ids, mask)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    return epoch


def sample_plain(model: Path, data: list[list[str]], given: argparse.Namespace) -> Callable[[], float]:
    """Return a function that samples for all contexts and returns the number of tokens."""
    network, tokenizer = plain_model(model, top=None)
    tokenizer.padding_side = "left"
    network.eval()

    def sample() -> float:
        torch.manual_seed(0)
        count = 0
        for batch in batches(data, given.contexts):
            texts = [SEPARATOR.join(window[:FRAMES]) + SEPARATOR for window in batch]
            inputs = tokenizer(texts, return_tensors="pt", padding=True)
            made = network.generate(
                **inputs, do_sample=True, num_return_sequences=SAMPLES, max_new_tokens=given.length, temperature=0.7
            )
            count += _real(made[:, inputs["input_ids"].shape[1] :], tokenizer.eos_token_id)
        return count

    return sample


def sample_ours(model: Path, data: list[list[str]], given: argparse.Namespace) -> Callable[[], float]:
    """Return a function that samples for all contexts and returns the number of tokens."""
    network = decoder(model, trained="none").eval()
    network.length = given.length
    decodings = [Decoding(method="sample", temperature=0.7, seed=seed) for seed in range(SAMPLES)]

    def sample() -> float:
        made = [network.generate_samples(narrative(batch), decodings) for batch in batches(data, given.contexts)]
        return sum(_real(ids.flatten(0, 1), network.vocabulary.eos) for ids in made)

    return sample


def _real(ids: Tensor, eos: int) -> int:
    """Return the number of tokens up to the first eos of each row, which counts."""
    ended = (ids == eos).cumsum(dim=1) - (ids == eos).long()
    return int((ended == 0).sum())


def timed(functions: dict[str, Callable[[], float]], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Call the functions in alternation; return the seconds and the result of each call."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            start = time.perf_counter()
            result = function()
            found[name].append((time.perf_counter() - start, result))
    return found


def _row(rates: dict[str, float]) -> list[str]:
    return [*(f"{rate:.0f} tokens/s" for rate in rates.values()), f"{rates['vsr'] / rates['plain']:.2f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("stories", type=Path)
    parser.add_argument("--windows", type=int, default=32, help="windows to train on")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--contexts", type=int, default=8, help="contexts sampled together")
    parser.add_argument("--length", type=int, default=48, help="longest sampled text in tokens")
    parser.add_argument("--layers", type=int, default=None, help="top layers that train; default: a quarter")
    parser.add_argument("--turns", type=int, default=3, help="epochs of training, and repetitions of sampling")
    given = parser.parse_args()
    data = windows(given.stories, given.windows)
    whole = decoder(given.model, trained="none")
    given.layers = given.layers or max(1, whole.loaded.model.config.num_hidden_layers // 4)
    tokens = sum(len(whole.vocabulary.encode_text(text)) + 1 for window in data for text in window)

    table = Table(title=f"{given.model.name}, {len(data)} windows, {torch.get_num_threads()} threads")
    for name in ("work", "plain loop", "vsr", "ratio"):
        table.add_column(name, justify="left" if name == "work" else "right")
    training = {"plain": train_plain(given.model, data, given), "vsr": train_ours(given.model, data, given)}
    turns = timed(training, given.turns)
    for work, chosen in (("training, first epoch", slice(0, 1)), ("training, later epochs", slice(1, None))):
        rates = {name: tokens / min(seconds for seconds, _ in each[chosen]) for name, each in turns.items()}
        table.add_row(
            work, *(f"{rate:.0f} tokens/s" for rate in rates.values()), f"{rates['vsr'] / rates['plain']:.2f}"
        )
    few = data[: 2 * given.contexts]
    sampling = {"plain": sample_plain(given.model, few, given), "vsr": sample_ours(given.model, few, given)}
    rates = {
        name: max(count / seconds for seconds, count in each) for name, each in timed(sampling, given.turns).items()
    }
    table.add_row(f"{SAMPLES} samples", *_row(rates))
    Console().print(table)


if __name__ == "__main__":
    main()
