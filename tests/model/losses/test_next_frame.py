"""The objective `next_frame`: query, candidates and training."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vsr_cli.api import TargetFeatures, TrainingFrames, VsrError
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.losses.next_frame import FIRST_WEIGHTS, NextFrame, NextInSpace
from vsr_cli.model.losses.term import ForwardPass
from vsr_cli.training.fit_statistics import training_frames

B, K, D, V, T = 5, 4, 8, 6, 7


@pytest.fixture
def space():
    return NextInSpace(V, width=D, steps=K).eval()


def stories_with_noise(*, stories=40, frames=10):
    """Return frames whose story shows in five small numbers, beside one that is large and says nothing."""
    random = np.random.default_rng(0)
    story = np.repeat(np.arange(stories), frames)
    vectors = random.normal(size=(len(story), V)).astype(np.float32) * [10, 1, 1, 1, 1, 1]
    vectors[:, 1:] += 4 * random.normal(size=(stories, V - 1))[story]
    return (vectors + 5).astype(np.float32), story


def right_story(keys, story):
    """Return how often the nearest other frame, by cosine, is of the same story."""
    cosines = (keys @ keys.T).fill_diagonal_(-2)
    return float(np.mean(story[cosines.argmax(1).numpy()] == story))


def test_fitted_keys_separate_stories_better_than_vectors(space):
    vectors, story = stories_with_noise()
    raw = right_story(space.keys(torch.from_numpy(vectors - vectors.mean(0))), story)
    space.fit(vectors, story)
    assert right_story(space.keys(torch.from_numpy(vectors)), story) > raw + 0.05
    assert torch.allclose(space.mean, torch.from_numpy(vectors.mean(0)), atol=1e-4)


def test_keys_scatter_equally_in_all_directions_within_stories(space):
    vectors, story = stories_with_noise(stories=400)
    space.fit(vectors, story)
    scaled = torch.from_numpy(vectors) @ space.metric
    within = torch.cat([part - part.mean(0) for part in scaled.split(10)])
    spreads = within.std(0)
    assert spreads.max() / spreads.min() < 5  # ten to one, before
    assert np.linalg.norm(vectors.std(0)) > 0


def test_one_frame_per_story_leaves_the_metric_unchanged(space):
    vectors = np.random.default_rng(0).normal(size=(12, V)).astype(np.float32)
    space.fit(vectors, np.arange(12))
    assert torch.equal(space.metric, torch.eye(V))


def test_identical_frames_have_finite_keys(space):
    space.fit(np.ones((12, V), np.float32), np.repeat(np.arange(3), 4))
    assert space.keys(torch.ones(2, V)).isfinite().all()


def test_the_query_starts_as_the_weighted_mean_of_the_contexts_keys(space):
    context = torch.randn(B, K, V)
    query = space.query(context, torch.randn(B, D), torch.ones(B, K, dtype=torch.bool))
    mean = (space.keys(context) * torch.tensor(FIRST_WEIGHTS)[:, None]).sum(1)
    assert torch.allclose(query, mean / mean.norm(dim=1, keepdim=True), atol=1e-6)


def test_padded_frames_do_not_change_the_query(space):
    context, mask = torch.randn(B, K, V), torch.tensor([True, True, False, False]).expand(B, K)
    changed = context.clone()
    changed[:, 2:] += 100
    summary = torch.randn(B, D)
    assert torch.equal(space.query(context, summary, mask), space.query(changed, summary, mask))


def features(**given):
    rows = torch.arange(B)
    return TargetFeatures(
        visual=torch.randn(B, V),
        text=torch.randn(B, T),
        text_ids=torch.ones(B, 3, dtype=torch.long),
        text_mask=torch.ones(B, 3, dtype=torch.bool),
        image_row=given.get("image_row", rows),
        text_row=given.get("text_row", rows),
        place=given.get("place", torch.full((B,), 4)),
    )


ENCODER = SimpleNamespace(cache_key="a frozen encoder, whose features are the vectors themselves")
PARTS = SimpleNamespace(visual=ENCODER, text=ENCODER)


def pass_of(target, story):
    """Return a seeded term, and a forward pass with random contexts for it."""
    torch.manual_seed(3)
    term = NextFrame(visual=V, text=T, width=D, steps=K).eval()
    context = SimpleNamespace(
        visual=torch.randn(B, K, V),
        text=torch.randn(B, K, T),
        text_mask=torch.ones(B, K, 3, dtype=torch.bool),
        mask=torch.ones(B, K, dtype=torch.bool),
        story=story,
    )
    outputs = ForwardPass(
        parts=PARTS,
        context=context,
        target=SimpleNamespace(features=target),
        narrative=SimpleNamespace(next=term.query(PARTS, context, torch.randn(B, D))),
        generate_image=lambda: pytest.fail("it reads no image"),
        gather=lambda rows: rows,
    )
    return term, outputs


def loss_of(target, story):
    term, outputs = pass_of(target, story)
    return term(outputs).item()


def test_the_loss_is_the_cross_entropy_of_the_own_target_among_the_batch():
    torch.manual_seed(0)
    target = features()
    query = pass_of(target, torch.arange(B))[1].narrative.next
    expected = [
        -torch.log_softmax(10 * queries @ keys(vectors).T, dim=1).diagonal().mean()
        for queries, keys, vectors in (
            (query.visual, query.image_keys, target.visual),
            (query.text, query.text_keys, target.text),
        )
    ]
    assert loss_of(target, torch.arange(B)) == pytest.approx(sum(expected).item() / 2, rel=1e-5)


def test_equal_texts_and_earlier_frames_are_not_negatives():
    torch.manual_seed(0)
    target, apart = features(), torch.arange(B)
    alone = loss_of(target, apart)
    twins = torch.tensor([0, 0, 2, 3, 4])
    assert loss_of(replace(target, image_row=twins), apart) < alone
    assert loss_of(replace(target, text_row=twins), apart) < alone
    # Of one story, the later target knows the earlier one, and not the other way round: one of two is left out.
    together = torch.tensor([0, 0, 2, 3, 4])
    later = loss_of(replace(target, place=torch.tensor([4, 5, 4, 4, 4])), together)
    assert loss_of(target, together) < later < alone  # at the same place they are one frame: neither is wrong


@pytest.fixture(scope="module")
def run(train_small, tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "next", "objective.next_frame=2", "training.epochs=3")


def test_the_term_is_trained_and_weighted(run):
    rows = [json.loads(line) for line in run.history.read_text().splitlines()]
    for row in rows:
        for losses in (row["train"], row["validation"]):
            weighted = losses["text"] + losses["image"] + 0.5 * losses["alignment"] + 2 * losses["next_frame"]
            assert losses["loss"] == pytest.approx(weighted, rel=1e-4)
    assert rows[-1]["train"]["next_frame"] < rows[0]["train"]["next_frame"]


def test_ranks_use_the_models_query(run, small_data):
    from vsr_cli.config.experiment import resolve_metrics
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.workflows.evaluation import run_evaluate

    found = registry()
    metrics = resolve_metrics(found, ["mrr-image", "mrr-text", "cosine-image"], [])
    result = run_evaluate(found, run, small_data, "test", metrics)
    assert "|ranking:query|" in result["signature"]
    assert 0 < result["metrics"]["mrr-image"]["value"] <= 1


def test_without_a_weight_the_term_is_not_computed(train_small, tmp_path):
    run = train_small(tmp_path / "run", "training.epochs=1")
    assert "next_frame" not in json.loads(run.history.read_text().splitlines()[0])["train"]
    with pytest.raises(VsrError, match=r"best_metric: next_frame is measured only where it has a weight"):
        train_small(tmp_path / "other", "training.best_metric=next_frame")


def test_training_frames_are_whole_stories_in_order_without_repeats(run, small_data):
    from vsr_cli.config.schema import FeatureOptions
    from vsr_cli.data.cache.extraction import frozen_features
    from vsr_cli.model.weights import load_model
    from vsr_cli.plugin.discovery import registry

    model, prepared, device = load_model(run, registry()), open_prepared(small_data), torch.device("cpu")
    kept = frozen_features(prepared, model.visual, model.text, device=device, options=FeatureOptions())
    frames: TrainingFrames = training_frames(model, prepared, kept, device=device)
    windows = prepared.windows("train")
    assert len(frames.texts) == sum(
        max(start for start, story in zip(windows.starts, windows.stories, strict=True) if story == name) + 5
        for name in set(windows.stories)
    )
    assert (np.diff(frames.story) >= 0).all()
    first = [prepared.frames.texts[row] for row in windows.text_rows[0]]
    assert first == frames.texts[:5] or first in [frames.texts[at : at + 5] for at in range(len(frames.texts))]
    assert frames.images([0, 1]).shape == (2, 32, 32, 3)
    assert frames.visual_trains
    few = training_frames(model, prepared, kept, device=device, most=20)
    assert 0 < len(few.texts) < len(frames.texts)
