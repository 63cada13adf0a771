"""CLIP as ``configs/text/clip.yaml`` builds it: each prompt encoded once per tower, whatever the process."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from hmu.compose import register_resolvers
from hmu.config import CONFIGS
from hmu.text.cache import CachedTextEncoder
from hmu.text.clip import ClipTextEncoder
from hmu.text.compact import CompactTextEncoder
from tests.conftest import shared

TEXTS = ["a person kicks", "", "someone waves with the left hand", "a person kicks"]


@pytest.fixture(scope="module")
def folder() -> Path:
    pytest.importorskip("transformers")
    return shared("checkpoints/clip-vit-base-patch32")


def configured(*overrides: str):
    """The text encoder of a composed backbone, as a script builds it; each call stands for a new process."""
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("unlearn", overrides=list(overrides))
    return instantiate(config.backbone.text)


def clip_at(folder: Path, cache: Path):
    return configured("backbone=salad", f"backbone.text.name_or_folder={folder}", f"paths.cache={cache}")


def refuse(*_, **__):
    raise AssertionError("the tower was asked for a prompt that is in the cache")


def test_a_second_process_asks_the_tower_for_nothing(folder, tmp_path, monkeypatch):
    first = clip_at(folder, tmp_path).encode(TEXTS)
    plain = ClipTextEncoder(folder).encode(TEXTS)
    monkeypatch.setattr(ClipTextEncoder, "encode_ids", refuse)
    again = clip_at(folder, tmp_path).encode(TEXTS)
    for name in ("tokens", "mask", "pooled"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert torch.equal(first.mask, plain.mask)
    assert torch.allclose(first.tokens[plain.mask], plain.tokens[plain.mask], atol=1e-5)
    assert torch.allclose(first.pooled, plain.pooled, atol=1e-5)
    with pytest.raises(AssertionError, match="asked for a prompt"):
        clip_at(folder, tmp_path).encode(["a new prompt"])


def test_a_damaged_cache_file_is_made_again_with_a_warning(folder, tmp_path, caplog):
    first = clip_at(folder, tmp_path).encode(TEXTS)
    (file,) = (tmp_path / "text").rglob("*.sqlite")
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with caplog.at_level(logging.WARNING):
        again = clip_at(folder, tmp_path).encode(TEXTS)
    assert torch.allclose(first.tokens, again.tokens, atol=1e-6)
    assert "damaged (" in caplog.text


def test_another_tokeniser_weight_or_output_has_another_cache(folder):
    prints = {ClipTextEncoder(folder).fingerprint, ClipTextEncoder(folder, "pooled").fingerprint}
    encoder = ClipTextEncoder(folder)
    encoder.tokenizer.add_tokens(["kickety"])
    prints.add(encoder.fingerprint)
    heavier = ClipTextEncoder(folder)
    next(heavier.model.parameters()).data.add_(1e-3)
    prints.add(heavier.fingerprint)
    assert len(prints) == 4
    before = ClipTextEncoder(folder)
    before.encode(TEXTS)  # calls set padding and truncation of the tokeniser: no part of what it is
    assert before.fingerprint == ClipTextEncoder(folder).fingerprint


def test_cache_null_and_the_compact_encoder_keep_nothing(folder, tmp_path):
    more = ["backbone=salad", f"backbone.text.name_or_folder={folder}", f"paths.cache={tmp_path}"]
    assert isinstance(configured(*more), CachedTextEncoder)
    assert isinstance(configured(*more, "backbone.text.cache=null"), ClipTextEncoder)
    compact = configured(f"paths.cache={tmp_path}")
    assert isinstance(compact, CompactTextEncoder)
    compact.encode(TEXTS)
    assert not (tmp_path / "text").exists()
