"""Text decoder `lm`: a causal language model of transformers that reads the story and continues it.

Its input is the context, frame after frame: the frame's text in the model's own tokens, a separator, and vectors of the
frame's image; then vectors of the temporal model's summary, after which it generates the next text and a separator.
Vectors are projections of the encoders' embeddings, as in LLaVA (Liu et al. 2023, "Visual Instruction Tuning") and
ClipCap (Mokady et al. 2021). The image follows its text, so that every text of the context, and its end, is predicted
from the same kind of input as the target, and can be learned with it.

Shapes: B stories, K context frames, D width of the story model, T tokens of a target, E width of the language model,
M = K * image_tokens + prefix vectors of a story.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, Decoding, Narrative, TextObjective, TokenBatch, VsrError
from vsr_cli.api.generation import NEVER, State, write, write_samples
from vsr_cli.api.text_loss import at_least_single, head_loss, sliced_loss, sum_over_parts
from vsr_cli.api.token_decoder import TokenDecoder

from ..lora import add_lora, fold_lora
from . import LmOptions
from .lm_generation import Generation, verify_generation
from .lm_loading import Loaded, load, read_assets, write_assets
from .lm_model import LanguageModel, passes

NEAR = 0.1
"""How far a vector is from the separator's embedding at first, as a share of the embeddings' standard deviation."""
MEBIBYTE = 2**20
EMPTY_LINES, LINE_BREAKS = re.compile(r"\s*\n\s*\n\s*"), re.compile(r"\s*\n\s*")


class LmDecoder(TokenDecoder):
    """A causal language model that reads the texts and images of the context.

    The model is frozen, trains low-rank updates (Hu et al. 2022, "LoRA"), or trains as a whole.
    """

    _breaks: Tensor

    def __init__(
        self, loaded: Loaded, *, width: int, frames: int, options: LmOptions, objective: TextObjective
    ) -> None:
        super().__init__(loaded.vocabulary, length=options.length, objective=objective)
        self.options, self.loaded = options, loaded
        self.open_vocabulary = options.weights == "pretrained"
        self.image_tokens, self.prefix = (0, 0) if options.trained == "none" else (options.image_tokens, options.prefix)
        upper_layers = options.lora_layers if options.trained == "lora" else None
        self.language = LanguageModel(
            loaded.model,
            upper_layers=upper_layers,
            cache_bytes=options.cache * MEBIBYTE,
            verify=loaded.has_weights,
        )
        longest = self._longest_input(frames)
        if loaded.has_weights:
            verify_generation(self.language, longest=longest)
        self.frozen = options.trained in ("none", "prefix")
        if options.trained != "all":
            loaded.model.requires_grad_(False)
        if options.trained == "lora":
            add_lora(self.language.upper, rank=options.rank, dropout=options.dropout, component="text decoder lm")
        if options.gradient_checkpointing:
            loaded.model.activation_checkpointing_enable({"use_reentrant": False})
        self.images = self._projection(width, self.image_tokens)
        self.summary = self._projection(width, self.prefix)
        with torch.no_grad():
            separator = torch.tensor([loaded.separator])
            self.start = nn.Parameter(
                self.language.entered([separator])[0][0].float(),  # it trains, also beside weights in half precision
                requires_grad=bool(self.image_tokens + self.prefix),
            )
        self._encode = lru_cache(maxsize=2**16)(self._encode_text)
        self._line_break = loaded.line_break
        self._separators = EMPTY_LINES if loaded.line_break == "\n" else LINE_BREAKS
        self._lines_end_texts = loaded.ending is not None
        self.register_buffer("_breaks", torch.tensor(loaded.breaks(), dtype=torch.long), persistent=False)
        self.train(False)

    def _projection(self, width: int, vectors: int) -> nn.Module:
        """Return the layers from an embedding (D,) to vectors (vectors * E,), which are small at first."""
        if not vectors:
            return nn.Identity()
        linear = nn.Linear(width, vectors * self.language.width)
        if self.loaded.has_weights:
            scale = NEAR * float(self.language.embeddings.weight.detach().float().std())
            nn.init.normal_(linear.weight, std=scale / width**0.5)
            nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.LayerNorm(width), linear)

    def _longest_input(self, frames: int) -> int:
        """Return the positions of the longest input. Raises VsrError if the model has fewer."""
        fixed = len(self.loaded.before) + len(self.loaded.after) + frames
        wanted = fixed + frames * self.image_tokens + self.prefix + self.options.context_length + self.length
        known = getattr(self.loaded.model.config.get_text_config(), "max_position_embeddings", None)
        if known is not None and wanted > known:
            instruction = len(self.loaded.before) + len(self.loaded.after)
            prompt = f", or shorten text_decoder.prompt ({instruction} tokens)" if self.options.prompt else ""
            raise VsrError(
                f"text decoder lm: {self.loaded.name} reads {known} tokens, and the longest input has {wanted}; lower "
                f"text_decoder.context_length (now {self.options.context_length}) or text_decoder.length (now "
                f"{self.length}){prompt}"
            )
        return wanted

    def train(self, mode: bool = True) -> LmDecoder:
        """Set the mode of what trains; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.language.train(False)
        return self

    def fold_updates(self) -> None:
        """Add what LoRA trained to the weights: the model generates faster, and is not trained any more."""
        if self.options.trained == "lora":
            fold_lora(self.language.upper)

    def save_assets(self, folder: Path) -> None:
        """Write the model's configuration, its tokenizer and the tokens around the story."""
        write_assets(folder, self.loaded)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T).

        In training, of a random share of the stories, and of the context's texts as well (`share`, `context_loss`).
        """
        stories = list(range(len(ids)))
        if self.training and self.options.share < 1:
            count = max(1, round(self.options.share * len(ids)))
            stories = torch.randperm(len(ids))[:count].sort().values.tolist()
        ids, mask = ids[stories], mask[stories]
        weight = self.options.context_loss if self.training else 0.0
        rows, positions, of_target, others = [], [], [], []
        for (context, texts), target in zip(
            self._contexts(narrative, stories), (row[real] for row, real in zip(ids, mask, strict=True)), strict=True
        ):
            row = torch.tensor(context, device=ids.device)
            rows.append(torch.cat([row, target[:-1]]))
            text = torch.tensor(texts if weight else [], dtype=torch.long, device=ids.device)
            others.append(row[text])
            # A token is predicted at the position before it.
            own = torch.arange(len(row), len(row) + len(target), device=ids.device)
            positions.append(torch.cat([own, text]) - 1)
            of_target.append(positions[-1] >= len(row) - 1)
        answers = sum(len(each) for each in others)
        targets = sum(len(each) for each in positions) - answers
        share = weight * answers
        share /= share + targets  # of the context's texts in the loss

        def loss_of(part: list[int], vectors: Tensor) -> Tensor:
            states = self.language.states([rows[row] for row in part], vectors[part], [positions[row] for row in part])
            chosen = torch.cat([of_target[row] for row in part])
            count = sum(len(others[row]) for row in part)
            terms = []
            if own := len(states) - count:
                terms.append(self._cross_entropy(states[chosen], ids[part], mask[part]) * ((1 - share) * own / targets))
            if count:
                texts, real = padded([others[row] for row in part])
                terms.append(self._cross_entropy(states[~chosen], texts, real) * (share * count / answers))
            return torch.stack(terms).sum()

        return sum_over_parts(
            loss_of, passes(rows), self._vectors(narrative)[stories], list(self.language.parameters())
        )

    def _cross_entropy(self, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean loss, a scalar, of states (N, E) for the N real tokens of ids and mask (B, T)."""
        objective, head = self._objective(), self.language.head
        if head is not None:
            return head_loss(states, head, ids, mask, objective=objective)
        return sliced_loss(
            lambda part: at_least_single(self.language.scores(states[part])).log_softmax(dim=-1),
            ids,
            mask,
            size=self.language.embeddings.num_embeddings,
            objective=objective,
        )

    @torch.no_grad()
    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Generate a text per story: ids (B, length), up to eos, then padding."""
        generation = self._generation(narrative)
        return write(
            partial(self._step_of, generation),
            generation.start(),
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decoding=decoding,
        )

    @torch.no_grad()
    def generate_samples(self, narrative: Narrative, decodings: Sequence[Decoding]) -> Tensor:
        """Sample a text per story and decoding, together: ids (B, S, length)."""
        generation = self._generation(narrative)
        return write_samples(
            partial(self._step_of, generation),
            generation.start(),
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decodings=decodings,
        )

    def _generation(self, narrative: Narrative) -> Generation:
        contexts = self._contexts(narrative, range(len(narrative.summary)))
        vectors = self._vectors(narrative)
        return Generation(self.language, [torch.tensor(row, device=vectors.device) for row, _ in contexts], vectors)

    def _step_of(self, generation: Generation, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        """Run a step of generation (see `vsr_cli.api.generation.Step`); after a token with an empty line comes eos."""
        scores, state = generation.step(tokens, state, fixed)
        ended = torch.isin(tokens, self._breaks)
        scores[ended] = NEVER
        scores[ended, self.vocabulary.eos] = 0.0
        return scores, state

    def _vectors(self, narrative: Narrative) -> Tensor:
        """Return the vectors of each story (B, M, E): those of its images, then those of its summary."""
        groups = []
        for count, projection, embeddings in (
            (self.image_tokens, self.images, narrative.visual),
            (self.prefix, self.summary, narrative.summary[:, None]),
        ):
            if count:
                groups.append(projection(embeddings).unflatten(2, (count, -1)).flatten(1, 2))
        if not groups:
            return narrative.summary.new_zeros(len(narrative.summary), 0, self.language.width)
        return torch.cat(groups, dim=1).to(self.start.dtype) + self.start

    def _contexts(self, narrative: Narrative, stories: Sequence[int]) -> list[tuple[list[int], list[int]]]:
        """Return the row of each story (see `lm_model`), and the positions in it of the texts' tokens.

        The oldest tokens are left out where the texts have more than `context_length`.
        """
        context, loaded = narrative.context, self.loaded
        real = context.mask.tolist()
        rows = []
        for story in stories:
            budget = self.options.context_length
            pages: list[tuple[int, tuple[int, ...]]] = []
            for frame in reversed([frame for frame, is_real in enumerate(real[story]) if is_real]):
                tokens = self._encode(context.texts[story][frame])
                if len(pages) and budget <= 0:
                    break
                pages.append((frame, tokens[max(0, len(tokens) - budget) :] if budget > 0 else ()))
                budget -= len(tokens)
            row, texts = list(loaded.before), list[int]()
            for frame, tokens in reversed(pages):
                texts += range(len(row), len(row) + len(tokens) + 1)
                row += [*tokens, loaded.separator]
                row += [-1 - frame * self.image_tokens - index for index in range(self.image_tokens)]
            row += loaded.after
            row += [-1 - len(real[story]) * self.image_tokens - index for index in range(self.prefix)]
            rows.append((row, [position for position in texts if position]))
        return rows

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T), with a final separator unless the text is truncated."""
        return super().tokenize([self._without_separators(text) for text in texts])

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of ids (B, T), up to its first eos or what ends a page, such as an empty line.

        Tokens that together end a page do not end generation: two line breaks, where one token may be an empty line.
        """
        texts = super().detokenize(ids)
        if not self._lines_end_texts:
            return texts
        found = [self._separators.search(text, len(text) - len(text.lstrip())) for text in texts]
        return [text[: end.start()] if end else text for text, end in zip(texts, found, strict=True)]

    def _encode_text(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.encode_text(self._without_separators(text)))

    def _without_separators(self, text: str) -> str:
        """Return a text without empty lines, as they separate texts; the line breaks of a verse stay if they do not."""
        return self._separators.sub(self._line_break, text)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the rows (S,) as one tensor (R, S), and a mask (R, S) of what is real."""
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return pad(list(rows)), pad([torch.ones_like(row, dtype=torch.bool) for row in rows])


def build(options: LmOptions, context: BuildContext) -> LmDecoder:
    """Build the decoder around a model from the Hub or a folder, or around its architecture from a run's assets.

    Raises VsrError if the model or its tokenizer cannot be loaded or used, or for trained=lora without peft.
    """
    loaded = load(options) if context.assets is None else read_assets(context.assets)
    try:
        return LmDecoder(
            loaded, width=context.width, frames=context.steps, options=options, objective=context.text_objective
        )
    except VsrError as error:
        if str(error).startswith("text decoder lm"):
            raise
        raise VsrError(
            f"text decoder lm: {loaded.name}: {error}; choose another model by --set text_decoder.model=..."
        ) from error
