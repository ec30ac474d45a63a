import math

import pytest
import torch

from vsr_cli.api import Context
from vsr_cli.model.losses.alignment import Alignment


def context(story, text_row, mask=None):
    """A context of which alignment reads three fields alone."""
    rows = torch.tensor(text_row)
    real = torch.ones_like(rows, dtype=torch.bool) if mask is None else torch.tensor(mask)
    return Context(
        visual=torch.empty(0),
        text=torch.empty(0),
        text_ids=torch.empty(0),
        text_mask=torch.empty(0),
        mask=real,
        last_image=torch.empty(0),
        story=torch.tensor(story),
        text_row=rows,
        texts=(),
        images=lambda: torch.empty(0),
    )


def distinct(stories, steps=4):
    return context(list(range(stories)), torch.arange(stories * steps).reshape(stories, steps).tolist())


def embeddings(*shape):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def by_hand(images, texts, forbidden=(), inverse_temperature=1 / 0.07):
    """CLIP's loss over rows (N, D) in plain Python; `forbidden` pairs (i, j) are no negatives of each other."""
    count = len(images)
    unit = [[row / row.norm() for row in rows] for rows in (images, texts)]
    score = [[inverse_temperature * float(image @ text) for text in unit[1]] for image in unit[0]]
    total = 0.0
    for i in range(count):
        allowed = [j for j in range(count) if (i, j) not in forbidden and (j, i) not in forbidden]
        of_image = math.log(sum(math.exp(score[i][j]) for j in allowed)) - score[i][i]
        of_text = math.log(sum(math.exp(score[j][i]) for j in allowed)) - score[i][i]
        total += (of_image + of_text) / 2
    return total / count


def test_the_loss_is_that_of_clip():
    images, texts = embeddings(2, 4, 6)
    loss = Alignment().loss(images, texts, distinct(2)).detach()
    assert loss.item() == pytest.approx(by_hand(images.flatten(0, 1), texts.flatten(0, 1)), rel=1e-5)


def test_two_orthogonal_pairs_give_the_value_on_paper():
    pairs = torch.eye(2)[:, None]  # (B=2, K=1, D=2): each image is its own text
    loss = Alignment().loss(pairs, pairs, distinct(2, 1))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1 / 0.07)), abs=1e-7)


def test_the_loss_is_symmetric_in_images_and_texts():
    images, texts = embeddings(3, 4, 5)
    alignment, both = Alignment(), context([0, 1, 0], [[0, 1, 2, 3], [4, 4, 5, 0], [1, 2, 3, 6]])
    straight, swapped = alignment.loss(images, texts, both), alignment.loss(texts, images, both)
    assert torch.allclose(straight, swapped, rtol=1e-6)


def test_the_length_of_an_embedding_does_not_matter():
    images, texts = embeddings(2, 4, 6)
    alignment = Alignment()
    assert torch.allclose(
        alignment.loss(images * 50, texts * 0.02, distinct(2)), alignment.loss(images, texts, distinct(2))
    )


def test_identical_text_within_a_story_is_no_negative():
    images, texts = embeddings(1, 4, 6)
    loss = Alignment().loss(images, texts, context([0], [[7, 8, 7, 9]]))
    assert loss.item() == pytest.approx(by_hand(images[0], texts[0], {(0, 2)}), rel=1e-5)
    assert loss.item() != pytest.approx(by_hand(images[0], texts[0]), rel=1e-3)


def test_a_frame_in_two_windows_of_one_story_is_no_negative_of_itself():
    images, texts = embeddings(2, 4, 6)
    loss = Alignment().loss(images, texts, context([5, 5], [[0, 1, 2, 3], [1, 2, 3, 4]]))
    flat = images.flatten(0, 1), texts.flatten(0, 1)
    assert loss.item() == pytest.approx(by_hand(*flat, {(1, 4), (2, 5), (3, 6)}), rel=1e-5)


def test_identical_text_of_another_story_is_a_negative():
    images, texts = embeddings(2, 4, 6)
    loss = Alignment().loss(images, texts, context([0, 1], [[0, 1, 2, 3], [1, 2, 3, 4]]))
    assert loss.item() == pytest.approx(by_hand(images.flatten(0, 1), texts.flatten(0, 1)), rel=1e-5)


def test_padded_frames_take_no_part():
    images, texts = embeddings(2, 4, 6)
    mask = [[True, True, False, False], [True, True, True, True]]
    batch = context([0, 1], [[0, 1, 1, 1], [2, 3, 4, 5]], mask)
    images.requires_grad_()
    loss = Alignment().loss(images, texts, batch)
    real = torch.tensor(mask)
    assert loss.item() == pytest.approx(by_hand(images[real].detach(), texts[real]), rel=1e-5)
    loss.backward()
    assert not images.grad[~real].any()
    assert images.grad[real].any(dim=-1).all()


def test_the_loss_of_a_single_frame_is_zero():
    images, texts = embeddings(1, 4, 6)
    batch = context([0], [[0, 0, 0, 0]], [[True, False, False, False]])
    assert Alignment().loss(images, texts, batch).item() == pytest.approx(0.0, abs=1e-7)


def test_a_story_of_one_text_throughout_gives_a_finite_loss():
    images, texts = embeddings(1, 4, 6)
    assert Alignment().loss(images, texts, context([0], [[3, 3, 3, 3]])).item() == pytest.approx(0.0, abs=1e-7)


def test_the_temperature_is_learned():
    alignment = Alignment()
    images, texts = embeddings(2, 4, 6)
    alignment.loss(images, texts, distinct(2)).backward()
    assert [name for name, _ in alignment.named_parameters()] == ["log_inverse_temperature"]
    assert alignment.log_inverse_temperature.grad.abs() > 0
    assert float(alignment.log_inverse_temperature.exp()) == pytest.approx(1 / 0.07)


def test_the_inverse_temperature_never_exceeds_a_hundred():
    alignment = Alignment()
    images, texts = embeddings(2, 4, 6)
    with torch.no_grad():
        alignment.log_inverse_temperature.fill_(50.0)
    loss = alignment.loss(images, texts, distinct(2))
    hand = by_hand(images.flatten(0, 1), texts.flatten(0, 1), inverse_temperature=100)
    assert loss.item() == pytest.approx(hand, rel=1e-5)


def test_half_precision_embeddings_are_compared_in_single_precision():
    images, texts = embeddings(2, 4, 6)
    loss = Alignment().loss(images.bfloat16(), texts.bfloat16(), distinct(2))
    assert loss.dtype == torch.float32
    hand = by_hand(images.bfloat16().float().flatten(0, 1), texts.bfloat16().float().flatten(0, 1))
    assert loss.item() == pytest.approx(hand, rel=1e-5)
