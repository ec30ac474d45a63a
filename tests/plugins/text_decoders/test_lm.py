"""The text decoder `lm`: what it reads, what it caches, and how it refuses models that it cannot use."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from gguf import GGUFWriter
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

from vsr_cli.api import Decoding, VsrError
from vsr_plugins.text_decoders import LmOptions, lm_model
from vsr_plugins.text_decoders.lm_cache import TextsLayer
from vsr_plugins.text_decoders.lm_generation import Generation, verify_generation
from vsr_plugins.text_decoders.lm_loading import gguf_file, requirements
from vsr_plugins.text_decoders.lm_model import LanguageModel

from .decoders import BOS, EOS, PAD, WORDS, make_decoder, random_narrative, rows_of

torch.set_num_threads(1)
WORD = {word: index for index, word in enumerate(WORDS)}


@pytest.fixture
def make(language_models):
    def build(which="lm frozen", **options):
        return make_decoder(which, model=language_models, **{"context_length": 12, **options}).eval()

    return build


def telling(*stories):
    """Return a narrative whose contexts have these texts, K per story."""
    made = random_narrative(len(stories))
    context = made.context
    object.__setattr__(context, "texts", [list(story) for story in stories])
    object.__setattr__(context, "mask", torch.ones(len(stories), 4, dtype=torch.bool))
    return made


def targets(model, texts):
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


def loss(model, narrative, text="Mara waits ."):
    ids, mask = targets(model, [text] * len(narrative.summary))
    with torch.no_grad():
        return model.loss(narrative, ids, mask).item()


STORY = ("Mara opens", "the box", "Mara", "waits .")


def test_a_row_holds_each_text_then_a_separator_then_its_image_and_the_summary_last(make):
    model = make(image_tokens=2, prefix=1)
    ((row, texts),) = model._contexts(telling(STORY), [0])
    expected = [WORD["Mara"], WORD["opens"], EOS, -1, -2, WORD["the"], WORD["box"], EOS, -3, -4]
    expected += [WORD["Mara"], EOS, -5, -6, WORD["waits"], WORD["."], EOS, -7, -8, -9]
    assert row == expected
    assert [row[position] for position in texts] == [token for token in row[1:] if token >= 0]


@pytest.mark.parametrize("which", ["lm lora", "lm divided"])
def test_folded_updates_change_no_score_and_leave_no_layer_of_lora(make, which):
    model, narrative = make(which), telling(STORY)
    untrained = loss(model, narrative)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    trained = loss(model, narrative)
    model.fold_updates()
    assert not any("lora" in name for name, _ in model.named_modules())
    assert abs(trained - untrained) > 1e-3
    assert loss(model, narrative) == pytest.approx(trained, abs=1e-5)


def test_the_token_of_an_empty_line_ends_every_text_unless_a_chat_template_has_another_end(language_models, tmp_path):
    folder = shutil.copytree(language_models / "gpt2", tmp_path / "gpt2")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    tokenizer.model = models.WordLevel({word: i for i, word in enumerate([*WORDS[:-1], "\n\n"])}, unk_token="[UNK]")
    tokenizer.save(str(folder / "tokenizer.json"))
    plain = make_decoder("lm frozen", model=tmp_path, context_length=12)
    assert plain.loaded.separator == plain.vocabulary.eos == len(WORDS) - 1
    assert plain.tokenize(["Mara waits"]).ids[0, :3].tolist() == [WORD["Mara"], WORD["waits"], len(WORDS) - 1]
    (folder / "chat_template.jinja").write_text("{% for m in messages %}[CLS] {{ m['content'] }} [SEP]{% endfor %}")
    chat = make_decoder("lm frozen", model=tmp_path, prompt="Mara waits", context_length=12)
    assert (chat.loaded.separator, chat.vocabulary.eos) == (len(WORDS) - 1, EOS)


def with_tokens(language_models, folder, *tokens, special=()):
    """Write the small GPT-2 with other last words of its vocabulary, and with special tokens beyond its embeddings."""
    folder = shutil.copytree(language_models / "gpt2", folder / "gpt2")
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    words = [*WORDS[: len(WORDS) - len(tokens)], *tokens]
    made.model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    made.add_special_tokens([AddedToken(each, special=True) for each in special])
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_a_token_with_an_empty_line_ends_a_text_as_well(language_models, tmp_path):
    folder = with_tokens(language_models, tmp_path, ".\n\n", "\n\n")
    model = make_decoder("lm frozen", model=tmp_path, context_length=12)
    stop, separator = len(WORDS) - 2, len(WORDS) - 1
    assert model.vocabulary.eos == separator

    def scores(tokens, state, fixed):
        wanted = {model.vocabulary.bos: WORD["Mara"], WORD["Mara"]: stop}
        answers = torch.tensor([wanted.get(token, WORD["box"]) for token in tokens.tolist()])
        return torch.nn.functional.one_hot(answers, len(WORDS)).float(), state

    model._generation = lambda narrative: SimpleNamespace(step=scores, start=lambda: (torch.zeros(2, 1),))
    for method in ("greedy", "beam"):
        ids = model.generate(random_narrative(2), Decoding(method=method))
        assert ids[:, :3].tolist() == [[WORD["Mara"], stop, separator]] * 2
    (folder / "chat_template.jinja").write_text("{% for m in messages %}[CLS] {{ m['content'] }} [SEP]{% endfor %}")
    assert not len(make_decoder("lm frozen", model=tmp_path, prompt="Mara", context_length=12)._breaks)


def test_a_text_ends_at_two_tokens_of_a_line_break(language_models, tmp_path):
    folder = with_tokens(language_models, tmp_path, "\n", "\n\n")
    model = make_decoder("lm frozen", model=tmp_path, context_length=12)
    line, mara, box, eos = len(WORDS) - 2, WORD["Mara"], WORD["box"], model.vocabulary.eos
    rows = [[mara, line, line, box, eos], [line, line, mara, box, eos], [mara, line, box, box, eos]]
    assert [text.split() for text in model.detokenize(torch.tensor(rows))] == [
        ["Mara"],
        ["Mara", "box"],
        ["Mara", "box", "box"],
    ]
    (folder / "chat_template.jinja").write_text("{% for m in messages %}[CLS] {{ m['content'] }} [SEP]{% endfor %}")
    chat = make_decoder("lm frozen", model=tmp_path, prompt="Mara", context_length=12)
    assert chat.detokenize(torch.tensor(rows[:1]))[0].split() == ["Mara", "box"]


def test_lines_of_a_text_are_joined_where_a_line_break_ends_it(language_models, tmp_path):
    with_tokens(language_models, tmp_path, "\n")
    model = make_decoder("lm frozen", model=tmp_path, context_length=12)
    assert model.vocabulary.eos == model.loaded.separator == len(WORDS) - 1
    assert model.tokenize(["Mara\nwaits"]).ids[0, :3].tolist() == [WORD["Mara"], WORD["waits"], len(WORDS) - 1]


def test_special_tokens_that_a_model_does_not_know_are_no_obstacle(language_models, tmp_path):
    with_tokens(language_models, tmp_path, special=["<image>", "<audio>"])  # as in Gemma 3
    model = make_decoder("lm frozen", model=tmp_path, context_length=12)
    assert model.vocabulary.never_generated[-1] == len(WORDS) + 1 > model.language.embeddings.num_embeddings
    assert model.generate(random_narrative(2), Decoding()).max() < len(WORDS)


def test_an_answer_ends_as_in_the_chat_template(language_models, tmp_path):
    folder = with_tokens(language_models, tmp_path, "[END]")
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.add_special_tokens(["[END]"])
    made.save(str(folder / "tokenizer.json"))
    template = "{% for m in messages %}[CLS] {{ m['content'] }}[END]{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    model = make_decoder("lm frozen", model=tmp_path, prompt="Mara", context_length=12)
    assert (model.vocabulary.eos, model.loaded.separator) == (len(WORDS) - 1, EOS)


def test_empty_lines_of_a_text_do_not_end_it(make):
    model = make()
    assert model.tokenize(["Mara\n \nwaits\n."]).ids.tolist() == model.tokenize(["Mara waits ."]).ids.tolist()


def test_the_oldest_tokens_are_left_out_of_a_context_that_is_too_long(make):
    model = make(image_tokens=1, prefix=0, context_length=4)
    ((row, _),) = model._contexts(telling(STORY), [0])
    assert row == [WORD["box"], EOS, -2, WORD["Mara"], EOS, -3, WORD["waits"], WORD["."], EOS, -4]


def test_repeated_frames_are_not_read(make):
    model, short = make(image_tokens=1, prefix=0), telling(STORY)
    short.context.mask[0, 2:] = False
    ((row, _),) = model._contexts(short, [0])
    assert WORD["waits"] not in row
    assert -3 not in row


@pytest.mark.parametrize("which", ["lm frozen", "lm divided"])
def test_texts_images_and_summary_of_the_context_change_the_loss(make, which):
    model, context = make(which), random_narrative(1)
    before = loss(model, context)
    assert loss(model, telling(("the", "the", "the", "the"))) != pytest.approx(before, abs=1e-6)
    for name in ("visual", "summary"):
        changed = random_narrative(1)
        getattr(changed, name).add_(1.0 + torch.randn(16))
        assert loss(model, changed) != pytest.approx(before, abs=1e-6), name


def test_an_untrained_model_reads_texts_alone(make):
    model, context = make(trained="none"), random_narrative(1)
    before = loss(model, context)
    context.visual.add_(torch.randn(16))
    context.summary.add_(torch.randn(16))
    assert loss(model, context) == before
    assert not any(weight.requires_grad for weight in model.parameters())


def test_what_lies_below_the_trained_layers_is_computed_once_with_the_same_loss(make):
    cached, plain, context = make("lm divided"), make("lm divided", cache=0), random_narrative(3)
    lower, upper, scores = cached.language._views
    calls = []
    cached.language._views = (lambda **inputs: calls.append(inputs) or lower(**inputs)), upper, scores
    first = loss(cached, context)
    assert len(calls) == 3
    assert loss(cached, context) == first
    assert len(calls) == 3
    assert loss(plain, context) == pytest.approx(first, abs=1e-6)


def test_lower_layers_are_computed_in_single_precision_under_autocast(make):
    mixed, single, context = make("lm divided"), make("lm divided"), random_narrative(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ids, mask = targets(mixed, ["Mara waits ."] * 2)
        mixed.train().loss(context, ids, mask).backward()
    loss(single, context)
    for row, entered in mixed.language._memory.items():
        assert torch.equal(entered, single.language._memory[row])
    assert loss(mixed.eval(), context) == loss(single, context)


def test_the_cache_forgets_the_oldest_when_it_is_full(make):
    model = make("lm divided")
    model.language._memory.clear()
    row = torch.tensor([WORD["Mara"], WORD["the"]])
    size = 2 * 16 * 4
    model.language._free = size
    model.language.entered([row])
    model.language.entered([row.flip(0)])
    assert list(model.language._memory) == [row.flip(0).numpy().tobytes()]
    assert model.language._free == 0


def test_samples_of_a_story_are_those_of_each_decoding_alone(make):
    for which in ("lm frozen", "lm divided"):
        model, context = make(which), random_narrative(3)
        decodings = [Decoding(method="sample", seed=seed) for seed in range(4)]
        together = model.generate_samples(context, decodings)
        assert together.shape == (3, 4, 9)
        for index, decoding in enumerate(decodings):
            assert torch.equal(together[:, index], model.generate(context, decoding))
        assert len({tuple(row) for row in together.flatten(0, 1).tolist()}) > 3
        assert torch.equal(model.generate_samples(rows_of(context, [2]), decodings), together[[2]])


# Every layer has a window; every second one; layers are mixtures of experts.
@pytest.mark.parametrize("architecture", ["mistral", "gemma2", "mixtral"])
def test_a_window_of_attention_is_the_same_in_generation_as_in_training(language_models, tmp_path, architecture):
    folder = shutil.copytree(language_models / "gpt2", tmp_path / "gpt2")
    torch.manual_seed(1)
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "initializer_range": 0.3}
    config = AutoConfig.for_model(architecture, sliding_window=3, **sizes, **heads)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    model = make_decoder("lm frozen", model=tmp_path, prefix=2, context_length=40, length=20).eval()
    narrative = telling(["Mara opens the box and waits ."] * 3 + ["the box"], STORY, ["box"] * 4)
    generated = model.generate(narrative, Decoding())
    for (row, _), vectors, text in zip(
        model._contexts(narrative, range(3)), model._vectors(narrative), generated, strict=True
    ):
        text = text[: text.tolist().index(EOS) + 1] if EOS in text else text
        whole = torch.cat([torch.tensor(row), text])
        places = torch.arange(len(row) - 1, len(whole) - 1)
        scores = model.language.scores(model.language.states([whole], vectors[None], [places]))
        scores[:, [PAD, BOS]] = float("-inf")
        assert scores.argmax(dim=1).tolist() == text.tolist()


@pytest.mark.parametrize(
    ("architecture", "shared"),
    [("llama", True), ("gpt2", True), ("gpt_neox", True), ("gptj", False), ("gemma2", False), ("diffllama", False)],
)
def test_texts_share_the_keys_and_values_of_their_context_where_the_architecture_allows_it(architecture, shared):
    """Else, as where scores are capped or cached values are transformed, one row holds them: the same scores."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "rotary_dim": 4}
    old = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    default = AutoConfig.for_model(architecture)
    given = {name: value for name, value in {**sizes, **heads, **old}.items() if hasattr(default, name)}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **given)).eval()
    language = LanguageModel(model, upper_layers=None, cache_bytes=0)
    verify_generation(language, longest=32)
    generation = Generation(language, [torch.tensor([1, 2, 3]), torch.tensor([4, 5])], torch.zeros(2, 0, 16))
    state = tuple(each.repeat_interleave(3, dim=0) for each in generation.start())
    texts = torch.tensor([[6, 7, 8], [9, 1, 2], [3, 4, 5], [6, 6, 6], [1, 2, 3], [7, 7, 8]])
    _, state = generation.step(texts[:, 0], state, ())
    _, state = generation.step(texts[:, 0], state, ())
    left = torch.tensor([2, 0, 4])  # in another order, and without some, as in a beam search
    _, state = generation.step(texts[left, 1], tuple(each[left] for each in state), ())
    found, _ = generation.step(texts[left[:2], 2], tuple(each[:2] for each in state), ())
    assert all(isinstance(layer, TextsLayer) == shared for layer in generation.stacks[0].layers)
    with torch.no_grad():
        whole = model(input_ids=torch.tensor([[1, 2, 3, 3, 4, 5], [1, 2, 3, 6, 7, 8]])).logits[:, -1]
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("architecture", "causal"), [("llama", True), ("gemma3_text", True), ("bert", False)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_is_refused_for_other_scores_but_not_for_rounding(architecture, causal, dtype):
    sizes = {"vocab_size": 500, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    for seed in range(3):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(architecture, **sizes, **heads, initializer_range=0.2)
        model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
        weights = {name: weight.clone() for name, weight in model.state_dict().items()}
        language = LanguageModel(model, upper_layers=None, cache_bytes=0)
        with nullcontext() if causal else pytest.raises(VsrError, match="other scores token by token"):
            verify_generation(language, longest=32)
        for name, weight in model.state_dict().items():
            assert weight.dtype == weights[name].dtype
            assert torch.equal(weight, weights[name])


@pytest.fixture
def one_row_per_pass(monkeypatch):
    return lambda: monkeypatch.setitem(lm_model.TOKENS_PER_PASS, "cpu", 1)


STORIES = (STORY, ["the box"] * 4, ["Mara opens the box and waits ."] * 4)


@pytest.mark.parametrize("which", ["lm lora", "lm divided"])
@pytest.mark.parametrize("objective", [{}, {"label_smoothing": 0.2, "unlikelihood": 0.5}], ids=["plain", "smoothed"])
def test_a_row_at_a_time_has_the_loss_and_gradient_of_all_together(make, one_row_per_pass, which, objective):
    model = make(which, context_loss=0.5, context_length=30)
    model.objective = replace(model.objective, **objective)
    model.train()
    for name, weight in model.named_parameters():  # LoRA begins with zeros, which have no gradient
        if "lora" in name:
            torch.nn.init.normal_(weight, std=0.1)
    ids, mask = targets(model, ["Mara waits .", "the box", "Mara opens the box"])
    found = []
    for begin in (lambda: None, one_row_per_pass):
        begin()
        model.zero_grad()
        result = model.loss(telling(*STORIES), ids, mask)
        result.backward()
        found.append((result.detach(), {n: w.grad for n, w in model.named_parameters() if w.requires_grad}))
    (together, ours), (apart, theirs) = found
    torch.testing.assert_close(together, apart)
    assert any(gradient.any() for gradient in ours.values())
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], msg=name)


@pytest.mark.parametrize("which", ["lm frozen", "lm divided"])
def test_contexts_that_are_read_apart_have_the_samples_of_contexts_read_together(make, one_row_per_pass, which):
    model, decodings = make(which, context_length=30), [Decoding(method="sample", seed=seed) for seed in (1, 2)]
    together = model.generate_samples(telling(*STORIES), decodings)
    one_row_per_pass()
    assert model.generate_samples(telling(*STORIES), decodings).equal(together)
    assert len(set(map(str, together.flatten(0, 1).tolist()))) > 3


def test_texts_of_the_context_are_learned_in_training_alone(make):
    model, context = make(context_loss=1.0), random_narrative(2)
    ids, mask = targets(model, ["Mara waits .", "the box"])
    plain = make(context_loss=0.0)
    torch.testing.assert_close(model.loss(context, ids, mask), plain.loss(context, ids, mask))
    assert model.train().loss(context, ids, mask) != plain.train().loss(context, ids, mask)


def test_a_share_of_the_batch_is_read_in_training(make):
    model, context = make(share=0.34, context_loss=0.0), random_narrative(3)
    ids, mask = targets(model, ["Mara waits .", "the box", "and the box opens"])
    alone = {model.loss(rows_of(context, [row]), ids[[row]], mask[[row]]).item() for row in range(3)}
    model.train()
    found = {round(model.loss(context, ids, mask).item(), 4) for _ in range(20)}
    assert found == {round(each, 4) for each in alone}


def test_a_prompt_is_put_into_the_chat_template_and_story_text_is_never_a_special_token(
    make, language_models, tmp_path
):
    folder = shutil.copytree(language_models / "gpt2", tmp_path / "gpt2")
    template = (
        "{% for m in messages %}[CLS] {{ m['content'] }} [SEP]{% endfor %}{% if add_generation_prompt %} and{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template)
    model = make_decoder("lm frozen", model=tmp_path, prompt="Mara waits", context_length=12)
    assert list(model.loaded.before) == [WORD["[CLS]"], WORD["Mara"], WORD["waits"]]
    assert list(model.loaded.after) == [EOS, WORD["and"]]
    ((row, _),) = model._contexts(telling(("[SEP]", *STORY[1:])), [0])
    assert row.count(EOS) == 1 + 4
    model.save_assets(tmp_path)
    again = make_decoder("lm frozen", assets=tmp_path, prompt="Mara waits", context_length=12)
    assert again.loaded.before == model.loaded.before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"context_length": 512}, "context_length"),
        ({"which": "lm divided", "lora_layers": 3}, "has 2 layers, fewer than 3"),
        ({"which": "lm gpt2 divided"}, "does not accept vectors among tokens"),
    ],
)
def test_what_a_model_cannot_do_is_one_line(make, language_models, tmp_path, options, reason):
    which = options.pop("which", "lm frozen")
    if which == "lm gpt2 divided":
        shutil.copytree(language_models / "gpt2", tmp_path / "llama")
        language_models, which = tmp_path, "lm divided"
    with pytest.raises(VsrError, match=reason) as error:
        make_decoder(which, model=language_models, **{"context_length": 12, **options})
    assert "\n" not in str(error.value)
    assert "text_decoder." in str(error.value)


@pytest.mark.parametrize("options", [{"trained": "none"}, {"trained": "lora", "lora_layers": 1}])
def test_a_recurrent_model_is_refused_in_one_line(language_models, tmp_path, options):
    folder = shutil.copytree(language_models / "gpt2", tmp_path / ("llama" if "lora_layers" in options else "gpt2"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
    config = AutoConfig.for_model("mamba", vocab_size=len(WORDS), **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    with pytest.raises(VsrError, match=r"architecture mamba does not accept vectors among tokens.*; choose another"):
        make_decoder("lm", model=tmp_path, **options)


def damage(folder, how):
    if how == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            (folder / name).unlink(missing_ok=True)
    elif how == "no eos":
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings.pop("eos_token")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    elif how == "another tokenizer":
        stored = json.loads((folder / "tokenizer.json").read_text())
        stored["model"]["vocab"] |= {f"word{index}": 100 + index for index in range(5)}
        (folder / "tokenizer.json").write_text(json.dumps(stored))
    elif how.startswith("{{"):
        (folder / "chat_template.jinja").write_text(how)
    elif how in FILES:
        shutil.rmtree(folder)
        folder.mkdir()
        for name in FILES[how]:
            (folder / name).write_bytes(b"GGUF" + bytes(FILES[how][name]))
    elif how in CONFIGS:
        change(folder / "config.json", CONFIGS[how])
    elif how in WEIGHTS:
        weights = load_file(folder / "model.safetensors")
        WEIGHTS[how](weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    elif how.endswith(".json"):
        (folder / how).write_text("[]")


def change(path, settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


FILES = {"GGUF of nothing": {"a.gguf": 100}, "cut GGUF": {"a.gguf": 2}, "two GGUF": {"a.gguf": 100, "b.gguf": 100}}
CONFIGS = {
    "fewer layers than weights": {"n_layer": 1},
    "no layer": {"n_layer": 0},
    "no head": {"n_head": 0},
    "layers in words": {"n_layer": "two"},
}
WEIGHTS = {
    # Of a token that no probe reads, and where a forward pass without padding gives finite scores.
    "NaN in a word": lambda weights: weights["transformer.wte.weight"][10].fill_(float("nan")),
    "NaN in attention": lambda weights: weights["transformer.h.0.attn.c_attn.weight"][0].fill_(float("nan")),
}
SETTINGS = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
BAD_TEMPLATES = [
    "{{ messages[9]['content'] }}",
    "{{ messages[0]['content'] }} {{ 1 // 0 }}",
    "{{ range(10 ** 9) }} {{ messages[0]['content'] }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages[0]['content'] }} {{ messages[0]['content'] }}",
    "{{ 'a story' }}",
]


BAD = ["no tokenizer", "no eos", "another tokenizer", *FILES, *CONFIGS, *WEIGHTS, *SETTINGS]


@pytest.mark.parametrize("how", [*BAD, *BAD_TEMPLATES])
def test_a_model_that_cannot_be_used_is_one_line_that_names_it(language_models, tmp_path, how):
    folder = shutil.copytree(language_models / "gpt2", tmp_path / "gpt2")
    damage(folder, how)
    with pytest.raises(VsrError, match=str(folder)) as error:
        make_decoder("lm frozen", model=tmp_path, prompt="Mara waits", context_length=12)
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(":)")


def test_a_gguf_file_without_sizes_is_not_built_in_a_default_size(tmp_path):
    (tmp_path / "gpt2").mkdir()
    writer = GGUFWriter(tmp_path / "gpt2" / "a.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(VsrError, match=r"a\.gguf has no llama\.block_count"):
        make_decoder("lm frozen", model=tmp_path, context_length=12)


def test_a_long_prompt_is_named_where_the_model_reads_too_few_tokens(make):
    with pytest.raises(VsrError, match=r"or shorten text_decoder\.prompt \(\d+ tokens\)"):
        make("lm frozen", prompt="Mara " * 200)


def test_a_prompt_that_is_not_utf8_is_refused():
    with pytest.raises(ValidationError, match="not valid UTF-8"):
        LmOptions(prompt="Mara \udcff")


def test_a_router_of_experts_has_no_low_rank_update(language_models, tmp_path):
    """In some architectures it is a linear layer that returns more than its product."""
    folder = shutil.copytree(language_models / "llama", tmp_path / "gpt2")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4}
    shape = {"num_key_value_heads": 2, "num_local_experts": 4, "max_position_embeddings": 64, "head_dim": 4}
    config = AutoConfig.for_model("phimoe", vocab_size=len(WORDS), **sizes, **shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    decoder = make_decoder("lm lora", model=tmp_path, context_length=12)
    assert loss(decoder, random_narrative(2)) > 0
    assert not [name for name, _ in decoder.named_parameters() if "router" in name and "lora" in name]


def test_impossible_settings_and_weights_that_are_not_finite_are_named(language_models, tmp_path):
    folder = shutil.copytree(language_models / "llama", tmp_path / "gpt2")
    weights = {name: each * float("nan") for name, each in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VsrError, match=r"gpt2: its weight .* holds numbers that are not finite; choose another model"):
        make_decoder("lm frozen", model=tmp_path, context_length=12)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_attention_heads": 3}))
    with pytest.raises(VsrError, match=r"cannot load .*gpt2 \(Class validation error"):
        make_decoder("lm frozen", model=tmp_path, context_length=12)


def test_a_gguf_file_is_named_by_itself_or_is_the_only_one_of_a_folder(tmp_path):
    one = tmp_path / "a.gguf"
    one.touch()
    assert gguf_file(str(tmp_path)) == gguf_file(str(one)) == one
    (tmp_path / "b.gguf").touch()
    assert gguf_file(str(tmp_path)) is None
    (tmp_path / "b.gguf").unlink()
    (tmp_path / "config.json").touch()
    assert gguf_file(str(tmp_path)) is None


def test_a_gguf_file_that_does_not_exist_is_a_missing_requirement(tmp_path):
    options = LmOptions(model=str(tmp_path / "a.gguf"), trained="none")
    (missing,) = requirements(options)
    assert (missing.what, missing.problem) == (f"the GGUF file {tmp_path}/a.gguf", "there is no such file")
