import logging
import os

import pytest
import safetensors
import torch

from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder, Embedding, EmbeddingCache
from hmu.text.compact import CompactTextEncoder
from hmu.text.precomputed import PrecomputedTextEncoder, condition_from_embeddings

TEXTS = ["a b", "", "a b c d", "a b", "kick"]


class Counting(TextEncoder):
    def __init__(self, inner: TextEncoder) -> None:
        super().__init__()
        self.inner, self.width, self.seen = inner, inner.width, []

    @property
    def fingerprint(self):
        return self.inner.fingerprint

    def encode(self, texts):
        self.seen.extend(texts)
        return self.inner.encode(texts)


def frozen():
    torch.manual_seed(0)
    return Counting(CompactTextEncoder(["a", "b", "kick"], width=8, heads=2, buckets=32).requires_grad_(False).eval())


def same(a: TextCondition, b: TextCondition):
    return (
        torch.allclose(a.tokens, b.tokens, atol=1e-5)
        and torch.equal(a.mask, b.mask)
        and torch.allclose(a.pooled, b.pooled, atol=1e-5)
    )


def test_each_text_is_encoded_once_and_order_is_kept(tmp_path):
    encoder = frozen()
    cached = CachedTextEncoder(encoder, tmp_path, batch=2)
    assert same(cached.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert sorted(encoder.seen) == sorted(set(TEXTS))
    assert same(cached.encode(TEXTS[::-1]), encoder.inner.encode(TEXTS[::-1]))
    assert len(encoder.seen) == len(set(TEXTS))
    assert cached.fingerprint == encoder.fingerprint


def test_disk_cache_outlives_the_process_and_memory_limit(tmp_path):
    CachedTextEncoder(frozen(), tmp_path).encode(TEXTS)
    encoder = frozen()
    again = CachedTextEncoder(encoder, tmp_path)
    again.cache.in_memory = 1
    assert same(again.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert same(again.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert encoder.seen == []
    assert len(again.cache._recent) == 1
    assert len(again.cache) == len(set(TEXTS))


def test_other_weights_have_another_cache(tmp_path):
    encoder = frozen()
    cached = CachedTextEncoder(encoder, tmp_path)
    cached.encode(TEXTS)
    with torch.no_grad():
        encoder.inner.norm.weight.mul_(2.0)
    assert same(cached.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert len(encoder.seen) == 2 * len(set(TEXTS))
    assert len(list(tmp_path.iterdir())) == 2


def test_trainable_encoder_is_never_cached(tmp_path):
    encoder = frozen()
    encoder.requires_grad_(True)
    cached = CachedTextEncoder(encoder, tmp_path)
    assert cached.encode(["a"]).tokens.requires_grad
    cached.encode(["a"])
    assert encoder.seen == ["a", "a"]
    assert list(tmp_path.iterdir()) == []


def test_frozen_encoder_in_train_mode_is_cached_without_dropout():
    encoder = frozen()
    cached = CachedTextEncoder(encoder)
    cached.train()
    result = cached.encode(TEXTS)
    assert encoder.training
    assert same(result, encoder.eval().inner.encode(TEXTS))


def test_damaged_shard_is_reported_and_replaced(tmp_path, caplog):
    CachedTextEncoder(frozen(), tmp_path).encode(TEXTS)
    (shard,) = tmp_path.rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:50])
    encoder = frozen()
    with caplog.at_level(logging.WARNING):
        assert same(CachedTextEncoder(encoder, tmp_path).encode(TEXTS), encoder.inner.encode(TEXTS))
    assert "damaged (" in caplog.text
    assert len(encoder.seen) == len(set(TEXTS))


def test_shard_deleted_while_open(tmp_path, caplog):
    cache = EmbeddingCache("f", tmp_path, in_memory=1)
    cache.put({text: Embedding(torch.full((2, 3), float(i)), None) for i, text in enumerate(["x", "y"])})
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()
    assert cache.get(["x", "y"]).keys() == {"y"}
    assert "vanished" in caplog.text


def test_full_disk_keeps_going_in_memory(tmp_path, monkeypatch, caplog):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    encoder = frozen()
    cached = CachedTextEncoder(encoder, tmp_path)
    for _ in range(2):
        assert same(cached.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert len(encoder.seen) == len(set(TEXTS))
    assert "No space left" in caplog.text


def test_precomputed():
    table = {"": torch.zeros(2, 4), "kick": torch.ones(3, 4)}
    encoder = PrecomputedTextEncoder(table)
    condition = encoder.encode(["kick", ""])
    assert condition.tokens.shape == (2, 3, 4)
    assert condition.mask.tolist() == [[True] * 3, [True, True, False]]
    assert encoder.fingerprint != PrecomputedTextEncoder({"": torch.zeros(2, 4)}).fingerprint
    with pytest.raises(Exception, match="no stored embedding for the prompt 'walk'"):
        encoder.encode(["walk"])


def test_raw_embeddings_carry_gradient():
    raw = torch.randn(3, 4, requires_grad=True)
    condition = condition_from_embeddings(raw)
    condition.tokens.sum().backward()
    assert torch.equal(raw.grad, torch.ones(3, 4))
    with pytest.raises(ValueError, match="do not belong together"):
        condition_from_embeddings(torch.zeros(2, 3, 4), torch.ones(2, 5))


def test_a_flipped_bit_is_noticed(tmp_path, caplog):
    CachedTextEncoder(frozen(), tmp_path).encode(TEXTS)
    (shard,) = tmp_path.rglob("*.safetensors")
    with safetensors.safe_open(shard, framework="pt") as stored:
        first = stored.get_tensor("tokens")[0].numpy().tobytes()
    content = bytearray(shard.read_bytes())
    content[content.index(first)] ^= 1
    shard.write_bytes(content)
    encoder = frozen()
    with caplog.at_level(logging.WARNING):
        assert same(CachedTextEncoder(encoder, tmp_path).encode(TEXTS), encoder.inner.encode(TEXTS))
    assert "its texts are encoded again" in caplog.text
    assert len(encoder.seen) == len(set(TEXTS))  # in the batches of the first time, so to the same bits


def test_many_small_shards_are_joined_while_another_process_reads_them(tmp_path, caplog):
    writer = EmbeddingCache("f", tmp_path, in_memory=1)
    texts = [str(i) for i in range(70)]
    for i, text in enumerate(texts):
        writer.put({text: Embedding(torch.full((1 + i % 3, 2), float(i)), torch.full((2,), -float(i)))})
    damaged = sorted((tmp_path / "f").glob("*.safetensors"))[0]
    damaged.write_bytes(b"nothing")
    opened = EmbeddingCache("f", tmp_path)
    assert len(list((tmp_path / "f").glob("*.safetensors"))) == 1
    assert "removed; its texts are encoded again" in caplog.text
    caplog.clear()
    for cache in (opened, writer):
        found = cache.get(texts[1:])
        assert [found[text].tokens[0, 0].item() for text in texts[1:]] == list(range(1, 70))
        assert [found[text].pooled[1].item() for text in texts[1:]] == [-float(i) for i in range(1, 70)]
        assert [len(found[text].tokens) for text in texts[1:]] == [1 + i % 3 for i in range(1, 70)]
    assert "encoded again" not in caplog.text
    assert writer.get(["0"]) == {}


def test_autocast_does_not_round_what_is_kept():
    encoder = frozen()
    exact = encoder.inner.encode(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.allclose(encoder.inner.encode(TEXTS).tokens.float(), exact.tokens, atol=1e-5)
        assert same(CachedTextEncoder(encoder).encode(TEXTS), exact)
