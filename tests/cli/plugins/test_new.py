"""`vsr plugins new`: packages that work as written."""

import importlib
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models

from vsr_cli.api import Decoding, TextObjective, Vocabulary
from vsr_cli.cli.plugins.new import write_package
from vsr_cli.errors import VsrError
from vsr_cli.plugin.kinds import KINDS, kind_of_word

FUSION = kind_of_word("fusion")


@pytest.mark.slow
def test_written_packages_pass_their_own_tests(packages, site):
    for package in packages.values():
        site.install(package)
    done = site.run("pytest", "-q", "-p", "no:cacheprovider", *packages.values())
    assert done.returncode == 0, done.stdout
    assert f"{len(KINDS)} passed" in done.stdout


@pytest.mark.slow
def test_installed_package_is_checked_by_name(packages, site, tmp_path):
    package = write_package(FUSION, "halves", tmp_path)
    site.install(package)
    done = site.run("vsr_cli", "plugins", "check", "halves")
    assert done.returncode == 0, done.stdout
    assert "ok      learns: its loss falls" in done.stdout
    model = package / "vsr_halves" / "model.py"
    model.write_text(model.read_text().replace("return text +", "return text[:, :1] +"))
    done = site.run("vsr_cli", "plugins", "check", "halves", "--kind", "fusion")
    assert done.returncode == 0, "a frame may be joined with another's text"
    model.write_text(model.read_text().replace("return text[:, :1] +", "return text[:1] +"))
    done = site.run("vsr_cli", "plugins", "check", "halves", "--kind", "fusion")
    assert done.returncode == 1
    assert (
        "FAILED  a story does not depend on the rest of its batch: the steps of a story depends on the rest"
        in done.stdout
    )
    assert "Traceback" not in done.stdout + done.stderr


@torch.no_grad()
def test_written_text_decoder_supports_every_decoding(packages, monkeypatch):
    monkeypatch.syspath_prepend(packages["text-decoder"])
    words = {name: index for index, name in enumerate(["[PAD]", "[CLS]", "[SEP]", *"abcdefghi"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    vocabulary = Vocabulary(tokenizer=tokenizer, pad=0, bos=1, eos=2)
    torch.manual_seed(0)
    decoder = importlib.import_module("vsr_word_pairs.model").WordPairs(
        SimpleNamespace(length=10), SimpleNamespace(vocabulary=vocabulary, width=8, text_objective=TextObjective())
    )
    ids = torch.arange(8)[:, None, None].expand(8, 4, 3)
    context = SimpleNamespace(text_ids=ids, text_mask=ids >= 0, mask=torch.ones(8, 4, dtype=torch.bool))
    narrative = SimpleNamespace(summary=4 * torch.randn(8, 8), context=context)

    def written(**decoding):
        return decoder.generate(narrative, Decoding(**decoding)).tolist()

    assert written(method="beam", beams=1) == written()
    ways = [written(), written(method="beam", beams=4), written(method="sample"), written(method="sample", seed=1)]
    assert all(one != other for index, one in enumerate(ways) for other in ways[:index])
    once = [[token for token in text if token] for text in written(no_repeat_ngram=1)]
    assert all(len(set(text)) == len(text) for text in once)


@pytest.mark.parametrize("name", ["", "2d", "Slow", "slow memory", "slow--memory", "../slow", "slow-", "é"])
def test_invalid_package_name_is_one_line(name, tmp_path):
    with pytest.raises(VsrError, match=r"is not valid; use lower-case words") as caught:
        write_package(FUSION, name, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_existing_package_is_not_overwritten(tmp_path):
    folder = write_package(FUSION, "slow_memory", tmp_path)
    assert folder == tmp_path / "vsr-slow-memory"
    (folder / "README.md").write_text("mine")
    with pytest.raises(VsrError, match="exists already; choose another name"):
        write_package(FUSION, "slow-memory", tmp_path)
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["vsr-slow-memory"]
