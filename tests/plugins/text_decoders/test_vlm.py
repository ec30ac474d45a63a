"""The text decoder `vlm`: it reads the images and texts of the context as a conversation, and answers it."""

import json
from dataclasses import replace

import pytest
import torch

from vsr_cli.api import BuildContext, Decoding, VsrError
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build

from ...plugin_checks.small_models import save_gpt2
from ...plugin_checks.small_vlms import MODELS, POSITIONS, save_idefics3
from .decoders import random_narrative, rows_of

torch.set_num_threads(1)
TEXTS = [
    ["Mara opens a box.", "It holds a map.", "She packs a bag.", "She leaves."],
    ["A dog runs.", "It jumps.", "It rests.", "It rests."],
    ["Rain falls.", "The river rises.", "A boat floats by.", "It stops here."],
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save(tmp_path_factory.mktemp("models") / name) for name, save in MODELS.items()}


@pytest.fixture
def make(folders):
    """Build the decoder: make("idefics3", trained="all")."""

    def made(which, *, assets=None, **options):
        torch.manual_seed(0)
        provided = registry().find("text_decoder", "vlm")
        given = {
            "model": str(folders.get(which, which)),
            "length": 7,
            "prompt": "What is next?",
            "dropout": 0.0,
            **options,
        }
        context = BuildContext(width=16, steps=4, image_size=32, training_texts=list, assets=assets)
        return build(provided, provided.component.options(**given), context)

    return made


def story(*, images=None, texts=TEXTS):
    """Three contexts with different images; the last frame of the second is a repeated one."""
    narrative = random_narrative(3)
    if images is None:
        images = torch.rand(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return replace(narrative, context=replace(narrative.context, texts=texts, images=lambda: images))


def targets(model, texts=("She finds it.", "Oh.", "The sun shines over the hills again.")):
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


@torch.no_grad()
def loss_of(model, narrative):
    return model.loss(narrative, *targets(model)).item()


def changed(narrative, *, row, frame, text=None):
    """Change the image of a frame, or its text."""
    if text is None:
        images = narrative.context.images().clone()
        images[row, frame] = 1 - images[row, frame]
        return story(images=images, texts=narrative.context.texts)
    texts = [list(each) for each in narrative.context.texts]
    texts[row][frame] = text
    return story(images=narrative.context.images(), texts=texts)


every = pytest.mark.parametrize("which", MODELS)


@every
def test_generation_takes_what_the_loss_scores_best_and_does_not_depend_on_neighbors(make, which):
    model, narrative = make(which).eval(), story()
    greedy = model.generate(narrative, Decoding())
    assert greedy.shape == (3, 7)
    ends = greedy == model.vocabulary.eos
    real = (ends.cumsum(1) - ends.long()) == 0
    with torch.no_grad():
        scores = model._answer_scores(model._inputs(narrative.context), greedy, real)
    scores[:, model.never] = -torch.inf
    assert torch.equal(scores.argmax(1), greedy[real])
    decodings = [Decoding(), Decoding(method="beam", beams=3), Decoding(method="sample", no_repeat_ngram=1)]
    for decoding in decodings:
        together = model.generate(narrative, decoding)
        assert torch.equal(model.generate(rows_of(narrative, [2, 1]), decoding), together[[2, 1]])
    for text in together.tolist():
        written = [token for token in text if token != model.vocabulary.pad]
        assert len(set(written)) == len(written) > 0
    samples = [Decoding(method="sample", seed=seed) for seed in (1, 2)]
    each = [model.generate(narrative, decoding) for decoding in samples]
    assert torch.equal(model.generate_samples(narrative, samples), torch.stack(each, dim=1))
    assert not torch.equal(*each)


@every
def test_every_real_image_and_text_of_the_context_matters(make, which):
    model, narrative = make(which).eval(), story()
    expected = loss_of(model, narrative)
    for row, frame, real in ((0, 0, True), (2, 3, True), (1, 3, False)):
        for text in (None, "A fox sleeps."):
            other = loss_of(model, changed(narrative, row=row, frame=frame, text=text))
            assert (abs(other - expected) > 1e-4) == real


@every
def test_padding_of_targets_and_later_targets_do_not_matter(make, which):
    model, narrative = make(which).eval(), story()
    ids, mask = targets(model)
    first = torch.zeros_like(mask)
    first[:, :2] = True
    with torch.no_grad():
        torch.testing.assert_close(
            model.loss(narrative, ids.masked_fill(~mask, 9), mask), model.loss(narrative, ids, mask)
        )
        later = ids.clone()
        later[:, 2:] = 9
        torch.testing.assert_close(model.loss(narrative, later, first), model.loss(narrative, ids, first))
        alone = [model.loss(rows_of(narrative, [row]), ids[[row]], mask[[row]]) * mask[row].sum() for row in range(3)]
    torch.testing.assert_close(model.loss(narrative, ids, mask), sum(alone) / mask.sum())


@every
@pytest.mark.parametrize("trained", ["none", "lora", "all"])
def test_what_trains_has_a_gradient_and_is_built_again_from_assets(make, which, trained, tmp_path):
    model, narrative = make(which, trained=trained, rank=2), story()
    loss = model.loss(narrative, *targets(model))
    assert loss.requires_grad == (trained != "none")
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    if trained == "none":
        assert not names
        assert not any(part.training for part in model.model.modules())
    else:
        loss.backward()
        reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
        assert reached == names
        assert all("lora" in name and "vision" not in name for name in names) == (trained == "lora")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in names:
                weight += 0.05 * torch.randn_like(weight)
    model.save_assets(tmp_path)
    again = make("nowhere", trained=trained, rank=2, assets=tmp_path)
    again.load_state_dict(model.state_dict())
    assert loss_of(again.eval(), narrative) == loss_of(model.eval(), narrative)
    assert torch.equal(again.generate(narrative, Decoding()), model.generate(narrative, Decoding()))


@every
def test_answers_begin_and_end_as_in_the_chat_template(make, which):
    model = make(which)
    assert model.conversations.opening == {"idefics3": " ", "qwen2.5-vl": ""}[which]
    ids, mask = targets(model, ["oh <image> no"])
    end = {"idefics3": "<end_of_utterance>", "qwen2.5-vl": "<|im_end|>"}[which]
    assert model.vocabulary.eos == model.conversations.processor.tokenizer.convert_tokens_to_ids(end)
    assert not set(ids[0].tolist()) & set(model.never) - {model.vocabulary.pad}
    short, mask = targets(model, ["oh"])
    assert short[mask].tolist()[-1] == model.vocabulary.eos
    assert model.detokenize(short) == ["oh"]


def test_names_of_special_tokens_in_a_text_are_text(make):
    model = make("idefics3").eval()
    marked = changed(story(), row=0, frame=1, text="<image> is a word <end_of_utterance>")
    plain = model._inputs(story().context)
    inputs = model._inputs(marked.context)
    for token in ("<image>", "<end_of_utterance>"):
        index = model.conversations.processor.tokenizer.convert_tokens_to_ids(token)
        assert (inputs["input_ids"] == index).sum() == (plain["input_ids"] == index).sum()


def test_the_oldest_frames_are_left_out_of_a_long_conversation(make):
    whole = make("idefics3").eval()
    lengths = whole._inputs(story().context)["attention_mask"].sum(1)
    model = make("idefics3", context_length=int(lengths.max()) - 1).eval()
    longest = int(lengths.argmax())
    narrative = story()
    for frame, read in ((0, False), (1, True)):
        for text in (None, "A fox that is red sleeps."):
            other = loss_of(model, changed(narrative, row=longest, frame=frame, text=text))
            assert (other != loss_of(model, narrative)) == read
    with pytest.raises(
        VsrError, match=r"a conversation of one frame has \d+ tokens, and at most 12 fit .*context_leng"
    ):
        loss_of(make("idefics3", context_length=12).eval(), narrative)
    with pytest.raises(VsrError, match=rf"text_decoder\.length: {POSITIONS} tokens leave no room"):
        make("idefics3", length=POSITIONS)


@pytest.mark.parametrize(("size", "tokens"), [(32, 4), (64, 20)])
def test_image_size_limits_what_an_image_costs(make, folders, size, tokens):
    inputs = make("idefics3", image_size=size)._inputs(story().context)
    image = make("idefics3").model.config.image_token_id
    assert (inputs["input_ids"][0] == image).sum() == 4 * tokens
    patches = make("qwen2.5-vl", image_size=size)._inputs(story().context)["image_grid_thw"][0].prod()
    assert patches == min(size, 32) ** 2 / 8**2


def test_a_model_without_a_chat_template_reads_images_and_texts_in_turn(make, tmp_path):
    model = make(save_idefics3(tmp_path / "plain", template=None)).eval()
    narrative = story()
    read = model.conversations.processor.tokenizer.decode(model._inputs(narrative.context)["input_ids"][0])
    before, after = read.split("mara opens a box")
    assert "<image>" in before
    assert after.index("<image>") < after.index("it holds a map")
    assert loss_of(model, narrative) != loss_of(model, changed(narrative, row=0, frame=0))


def drop(*names):
    def dropping(folder):
        for name in names:
            (folder / name).unlink()

    return dropping


def with_template(template):
    return lambda folder: (folder / "chat_template.jinja").write_text(template)


def with_words(folder):
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"] |= {f"word{index}": 9000 + index for index in range(5)}
    (folder / "tokenizer.json").write_text(json.dumps(stored))


IMAGES_ONLY = "{% for part in messages[0]['content'] if part['type'] == 'image' %}<image>{% endfor %}"


@pytest.mark.parametrize(("damage", "says"), [
    (drop("processor_config.json"), "no processor for both images and texts|cannot load"),
    (drop("tokenizer.json", "tokenizer_config.json"), "cannot load|no processor for both"),
    (drop("model.safetensors"), "cannot load"),
    (with_words, "has tokens up to 9004"),
    (with_template("{{ messages.nothing.there }}"), "cannot encode"),
    (with_template("{{ 1 // 0 }}"), "cannot encode"),
    (with_template("no image at all, vsr-text"), "cannot encode a conversation"),
    (with_template(IMAGES_ONLY), "does not contain each text once"),
], ids=["processor", "tokenizer", "weights", "large-tokenizer", "broken-template", "failing-template",
        "template-without-images", "template-without-texts"])  # fmt: skip
def test_a_folder_that_lacks_something_is_one_line_with_the_remedy(make, tmp_path, damage, says):
    folder = save_idefics3(tmp_path / "model")
    damage(folder)
    with pytest.raises(VsrError, match=rf"^text decoder vlm: .*({says}).*--set text_decoder\.model=") as refused:
        make(folder)
    assert len(str(refused.value).splitlines()) == 1


def test_a_model_of_texts_alone_is_refused_by_its_architecture(make, tmp_path):
    with pytest.raises(VsrError, match=r"is of the architecture gpt2, which does not continue conversations of images"):
        make(save_gpt2(tmp_path / "gpt2"))


def test_requirements_name_what_is_missing(tmp_path):
    component = registry().find("text_decoder", "vlm").component
    from vsr_plugins.text_decoders.vlm_loading import requirements

    folder = save_idefics3(tmp_path / "model")
    assert requirements(component.options(model=str(folder))) == []
    (folder / "processor_config.json").unlink()
    (missing,) = requirements(component.options(model=str(folder)))
    assert "preprocessor_config.json" in str(missing.problem)
    assert "--set text_decoder.model=FOLDER" in missing.remedy
