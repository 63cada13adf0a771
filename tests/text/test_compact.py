import json
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from hmu.checkpoints.safe import load_safetensors, save_safetensors
from hmu.errors import ConfigError
from hmu.text.compact import CompactTextEncoder, build_vocabulary, ngram_buckets, split_words
from tests.compact import compact

TEXTS = ["a person kicks", "a person walks forward slowly", "", "someone is jumping, twice!"]


def encoder(**options):
    torch.manual_seed(0)
    return compact(build_vocabulary(TEXTS, 1), width=32, buckets=256, **options).eval()


def test_words_and_vocabulary():
    assert split_words("A person's LEFT-leg kicks, 2x… ok_go") == [
        "a",
        "person's",
        "left",
        "leg",
        "kicks",
        "2x",
        "ok",
        "go",
    ]
    assert build_vocabulary(["b a", "a c", "c"], 2) == ["a", "c"]
    assert build_vocabulary([], 1) == []


def test_shapes_masks_and_empty_prompt():
    condition = encoder().encode(TEXTS)
    assert condition.tokens.shape == (4, 7, 32)
    assert condition.mask.sum(1).tolist() == [5, 7, 2, 6]
    assert condition.pooled.shape == (4, 32)
    assert torch.all(condition.tokens[~condition.mask] == 0)


def test_result_does_not_depend_on_the_batch():
    model = encoder()
    together = model.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        alone = model.encode([text])
        n = int(alone.mask.sum())
        assert torch.allclose(alone.tokens[0], together.tokens[row, :n], atol=1e-5)
        assert torch.allclose(alone.pooled[0], together.pooled[row], atol=1e-5)


def test_long_prompts_are_cut_and_keep_the_end_marker():
    model = encoder(max_tokens=6)
    assert torch.allclose(model.encode(["a b c d e f g"]).tokens, model.encode(["a b c d"]).tokens)
    assert model.encode(["a b c d e f g"]).mask.sum() == 6


def test_unknown_inflection_is_near_its_stem():
    model = encoder()
    (own, parts), rows = model._word_vectors(["kicks", "kicking", "kicked", "umbrella"])
    assert torch.all(own[rows["kicking"]] == 0)
    assert torch.any(own[rows["kicks"]] != 0)
    kicking, kicked, other = (parts[rows[word]] for word in ("kicking", "kicked", "umbrella"))
    assert (
        functional.cosine_similarity(kicking, kicked, dim=0) > functional.cosine_similarity(kicking, other, dim=0) + 0.2
    )


def test_every_parameter_gets_gradient():
    model = encoder().train()
    model.encode(TEXTS).tokens.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.any(parameter.grad != 0), name
    assert torch.all(model.ngrams.weight.grad[0] == 0)


def test_word_dropout_acts_in_train_mode_only():
    model = encoder(word_dropout=1.0, dropout=0.0)
    evaluated = model.encode(["a person kicks"]).tokens
    hidden = model.train().encode(["a person kicks"]).tokens
    assert not torch.allclose(evaluated, hidden)
    model.set_vocabulary([])  # nothing known: the same as hiding every word
    with torch.no_grad():
        model.words.weight.copy_(encoder().words.weight[:2])
    assert torch.allclose(model.eval().encode(["a person kicks"]).tokens, hidden, atol=1e-6)
    blind = encoder(token_dropout=1.0, dropout=0.0).train()
    assert torch.allclose(blind.encode(["kicks"]).tokens, blind.encode(["jumps"]).tokens)


def test_config_and_weights_restore_the_encoder(tmp_path):
    model = encoder()
    save_safetensors(tmp_path / "t.safetensors", model.state_dict())
    again = CompactTextEncoder(**json.loads(json.dumps(model.to_config()))).eval()
    assert again.fingerprint != model.fingerprint
    again.load_state_dict(load_safetensors(tmp_path / "t.safetensors"))
    assert again.fingerprint == model.fingerprint
    assert torch.equal(again.encode(TEXTS).tokens, model.encode(TEXTS).tokens)
    with torch.no_grad():
        again.norm.weight[0] += 1e-3
    assert again.fingerprint != model.fingerprint


def test_hash_is_stable_across_processes():
    code = "from hmu.text.compact import ngram_buckets; print(list(ngram_buckets('kick', 512)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(found) == list(ngram_buckets("kick", 512))


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="multiple"):
        compact(width=30, heads=4)
    with pytest.raises(ConfigError, match="max_tokens"):
        compact(max_tokens=1)
    with pytest.raises(ConfigError, match="twice"):
        compact(["a", "a"])


def test_learns_to_tell_prompts_apart():
    torch.manual_seed(1)
    model = compact(build_vocabulary(TEXTS, 1), width=32, buckets=256)
    head = torch.nn.Linear(32, 4)
    optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(30):
        loss = functional.cross_entropy(head(model.encode(TEXTS).pooled), torch.arange(4))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    answers = head(model.encode(["people kicking", "slowly walking", "", "he jumped"]).pooled).argmax(1)
    assert answers.tolist() == [0, 1, 2, 3]
