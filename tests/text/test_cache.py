import logging

import pytest
import torch

from hmu.checkpoints.store import Store, content_key
from hmu.text import cache
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.cache import CachedTextEncoder
from hmu.text.precomputed import PrecomputedTextEncoder
from tests.compact import compact

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
    return Counting(compact(["a", "b", "kick"], width=8, heads=2, buckets=32).requires_grad_(False).eval())


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


def test_disk_cache_outlives_the_process_and_memory_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "IN_MEMORY", 2)
    CachedTextEncoder(frozen(), tmp_path).encode(TEXTS)
    encoder = frozen()
    again = CachedTextEncoder(encoder, tmp_path)
    assert same(again.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert same(again.encode(TEXTS[:1]), encoder.inner.encode(TEXTS[:1]))
    assert encoder.seen == []
    assert list(again._memory) == TEXTS[:1]


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


@pytest.mark.parametrize("content", [b"nothing", b"SQLite format 3\0", bytes(1 << 15)])
def test_a_damaged_file_is_reported_and_replaced(tmp_path, caplog, content):
    CachedTextEncoder(frozen(), tmp_path).encode(TEXTS)
    (file,) = tmp_path.rglob("*.sqlite")
    file.write_bytes(content)
    encoder = frozen()
    with caplog.at_level(logging.WARNING):
        assert same(CachedTextEncoder(encoder, tmp_path).encode(TEXTS), encoder.inner.encode(TEXTS))
    assert "damaged (" in caplog.text
    assert len(encoder.seen) == len(set(TEXTS))
    again = frozen()
    CachedTextEncoder(again, tmp_path).encode(TEXTS)
    assert again.seen == []


def test_files_of_an_earlier_version_are_left_alone(tmp_path):
    encoder = frozen()
    old = tmp_path / encoder.fingerprint / "1-2-3.safetensors"
    old.parent.mkdir()
    old.write_bytes(b"shard")
    assert same(CachedTextEncoder(encoder, tmp_path).encode(TEXTS), encoder.inner.encode(TEXTS))
    assert old.read_bytes() == b"shard"


def test_a_disk_that_takes_nothing_keeps_going_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    encoder = frozen()
    cached = CachedTextEncoder(encoder, tmp_path / "file")
    for _ in range(2):
        assert same(cached.encode(TEXTS), encoder.inner.encode(TEXTS))
    assert len(encoder.seen) == len(set(TEXTS))
    assert caplog.text.count("kept in memory only") == 1


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
    PrecomputedTextEncoder({"": raw, "kick": raw + 1}).encode(["", "kick"]).tokens.sum().backward()
    assert torch.equal(raw.grad, torch.full((3, 4), 2.0))


def test_a_flipped_bit_is_noticed(tmp_path, caplog):
    CachedTextEncoder(frozen(), tmp_path).encode(TEXTS)
    (file,) = tmp_path.rglob("*.sqlite")
    (stored,) = Store(file.parent).load_rows([content_key("kick")]).values()
    content = bytearray(file.read_bytes())
    content[content.index(stored["tokens"].numpy().tobytes())] ^= 1
    file.write_bytes(content)
    encoder = frozen()
    with caplog.at_level(logging.WARNING):
        assert same(CachedTextEncoder(encoder, tmp_path).encode(TEXTS), encoder.inner.encode(TEXTS))
    assert "damaged (a row is not what was written), made again" in caplog.text
    assert len(encoder.seen) == len(set(TEXTS))  # in the batches of the first time, so to the same bits


def test_autocast_does_not_round_what_is_kept():
    encoder = frozen()
    exact = encoder.inner.encode(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.allclose(encoder.inner.encode(TEXTS).tokens.float(), exact.tokens, atol=1e-5)
        assert same(CachedTextEncoder(encoder).encode(TEXTS), exact)
