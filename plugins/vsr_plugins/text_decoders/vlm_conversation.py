"""Conversations of images and texts, as the processor of a vision-language model encodes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from vsr_cli.api import Vocabulary, VsrError, one_line, quiet

from .chat_templates import TEMPLATE_ERRORS

ANSWER, MARK = "vsr-answer", "vsr-text"
"""Stand for the assistant's answer and for the text of a frame in a chat template."""


class Conversations:
    """Encodes contexts as conversations: the images and texts of the frames, and an instruction.

    A chat template renders them as a message of the user and the beginning of the assistant's; without one they are
    written one after the other.
    """

    def __init__(self, processor: Any, *, prompt: str, limit: int) -> None:
        """Store the processor, the instruction, and the longest conversation in tokens.

        Raises VsrError if the processor cannot encode a conversation.
        """
        self.processor, self.prompt, self.limit = processor, prompt, limit
        tokenizer = processor.tokenizer
        self.template = processor.chat_template or tokenizer.chat_template
        self.special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.opening, eos = self._answer_format()
        self.vocabulary = Vocabulary(
            # A copy, as the vocabulary changes the settings of its tokenizer.
            tokenizer=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
            pad=tokenizer.pad_token_id,
            bos=eos if tokenizer.bos_token_id is None else tokenizer.bos_token_id,
            eos=eos,
        )
        self.prompt = self.vocabulary.without_special_tokens(prompt)
        self._check()

    def encode(self, texts: Sequence[Sequence[str]], images: Sequence[Tensor]) -> Any:
        """Return the processor's output, padded on the left, for the texts and images (n, 3, H, W) uint8 of stories.

        The oldest frames of conversations that are too long are left out. Raises VsrError if one of a single frame is.
        """
        texts = [[self.vocabulary.without_special_tokens(text) for text in story] for story in texts]
        frames = [len(story) for story in texts]
        while True:
            batch = self._encoded(
                [story[-count:] for story, count in zip(texts, frames, strict=True)],
                [story[-count:] for story, count in zip(images, frames, strict=True)],
            )
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            long = [story for story, length in enumerate(lengths) if length > self.limit]
            if not long:
                return batch
            for story in long:
                if frames[story] == 1:
                    raise VsrError(
                        f"text decoder vlm: a conversation of one frame has {lengths[story]} tokens, and at most "
                        f"{self.limit} fit beside the text that is generated; raise text_decoder.context_length if it "
                        "is set, lower text_decoder.image_size or text_decoder.length, or choose another "
                        "text_decoder.model"
                    )
                frames[story] -= 1

    def _encoded(self, texts: Sequence[Sequence[str]], images: Sequence[Tensor]) -> Any:
        rendered = [self._rendered(story) for story in texts]
        first = self.processor.tokenizer.bos_token
        with quiet():
            return self.processor(
                text=rendered,
                images=[list(story) for story in images],
                padding=True,
                padding_side="left",
                add_special_tokens=first is None or not rendered[0].startswith(first),  # a template may write it
                return_tensors="pt",
            )

    def _rendered(self, texts: Sequence[str], *, answer: str | None = None) -> str:
        if self.template is None:
            token = self.processor.image_token
            return "".join(f"{token}{text}\n" for text in texts) + f"{self.prompt}\n" + (answer or "")
        content: list[dict[str, str]] = []
        for text in texts:
            content += [{"type": "image"}, {"type": "text", "text": f"{text}\n"}]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": self.prompt}]}]
        if answer is not None:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        rendered: str = self.processor.apply_chat_template(
            messages, chat_template=self.template, add_generation_prompt=answer is None
        )
        return rendered

    def _answer_format(self) -> tuple[str, int]:
        """Return what the template writes before an answer, such as a space, and the id of the token that ends it."""
        tokenizer = self.processor.tokenizer
        try:
            before, whole = self._rendered(["text"]), self._rendered(["text"], answer=ANSWER)
        except TEMPLATE_ERRORS as error:
            raise self._unusable(error) from error
        opening, found, closing = whole.removeprefix(before).partition(ANSWER)
        if not found or not whole.startswith(before):
            return "", tokenizer.eos_token_id
        ids = tokenizer(closing, add_special_tokens=False)["input_ids"]
        return opening, ids[0] if ids and ids[0] in self.special else tokenizer.eos_token_id

    def _check(self) -> None:
        """Encode a small conversation. Raises VsrError if that fails, or if the template leaves out its texts."""
        try:
            if self._rendered([MARK]).count(MARK) != 1:
                raise ValueError("its chat template does not contain each text once")
            self._encoded([["text"]], [torch.zeros(1, 3, 32, 32, dtype=torch.uint8)])
        except (*TEMPLATE_ERRORS, RuntimeError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> VsrError:
        return VsrError(
            f"text decoder vlm: {type(self.processor).__name__} cannot encode a conversation of images and texts "
            f"({one_line(error)}); choose another model by --set text_decoder.model=..."
        )
