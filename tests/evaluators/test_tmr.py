"""TMR as an evaluator: order, padding, texts, training, files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import CheckpointError, ConfigError, DataError
from hmu.evaluators.both import EvaluatorPair
from hmu.evaluators.tmr import TMREvaluator, build, from_authors
from hmu.evaluators.tmr.evaluator import PUBLISHED
from hmu.evaluators.tmr.objectives import contrastive, false_negatives, reconstruction
from hmu.evaluators.tmr.tables import token_table
from hmu.text.base import TextEncoder
from hmu.text.compact import CompactTextEncoder
from hmu.text.words_bag import BagOfWords
from tests.compact import compact as compact_text

FEATURES = 7
CAPTIONS = tuple(Caption(t) for t in ("a man kicks", "walk", "someone jumps slowly", "a person kicks a ball"))
SMALL = {"width": 8, "ff": 12, "layers": 2, "heads": 2}


def compact() -> CompactTextEncoder:
    return compact_text(width=8, layers=1, heads=2, buckets=32)


def small(text: TextEncoder | None = None, **options: object) -> TMREvaluator:
    torch.manual_seed(0)
    evaluator = TMREvaluator(FEATURES, text or compact(), **{**PUBLISHED, **SMALL, **options})  # type: ignore[arg-type]
    evaluator.prepare(torch.zeros(FEATURES), torch.ones(FEATURES), CAPTIONS)
    return evaluator.eval()


def batch(count: int = 8, frames: int = 24) -> MotionBatch:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(4, frames + 1, (count,), generator=generator)
    phase = torch.rand(count, 1, FEATURES, generator=generator)
    speed = 0.2 * (1 + torch.arange(count) % len(CAPTIONS))[:, None, None]
    motion = 2 * torch.sin(torch.arange(frames)[None, :, None] * speed + phase)
    motion *= (torch.arange(frames)[None] < lengths[:, None])[..., None]
    captions = tuple(CAPTIONS[i % len(CAPTIONS)] for i in range(count))
    return MotionBatch(motion, lengths, captions, tuple(map(str, range(count))))


@pytest.mark.parametrize("length", [1, 5, 24])
def test_motion_embedding_does_not_depend_on_the_batch_its_order_or_the_tail(length: int) -> None:
    evaluator, data = small().double(), batch()
    motion, lengths = data.motion.double(), torch.tensor([length, 24, 8, 16, 3, 24, 20, 12])
    together = evaluator.embed_motion(motion, lengths)
    assert torch.allclose(together.norm(dim=1), torch.ones(8).double())
    assert torch.allclose(together[:1], evaluator.embed_motion(motion[:1, :length], lengths[:1]), atol=1e-12)
    order = torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])
    assert torch.allclose(evaluator.embed_motion(motion[order], lengths[order]), together[order], atol=1e-12)
    noisy = motion.clone()
    noisy[0, length:] = 9.0
    assert torch.allclose(evaluator.embed_motion(noisy, lengths), together, atol=1e-12)


def test_statistics_are_used_in_real_units() -> None:
    evaluator, data = small(unit=False), batch()
    expected = evaluator.embed_motion(data.motion, data.lengths)
    mean, std = torch.linspace(-1, 1, FEATURES), torch.linspace(0.5, 2, FEATURES)
    evaluator.statistics.assign(mean, std)
    assert torch.allclose(evaluator.embed_motion(data.motion * std + mean, data.lengths), expected, atol=1e-5)
    with pytest.raises(ConfigError, match="std > 0"):
        evaluator.statistics.assign(mean, std * 0)


def test_text_embedding_keeps_the_callers_order_and_reads_the_sentence() -> None:
    evaluator = small().double()
    together = evaluator.embed_text(CAPTIONS)
    for i, caption in enumerate(CAPTIONS):
        assert torch.allclose(evaluator.embed_text([caption])[0], together[i], atol=1e-12)


@pytest.mark.parametrize(
    ("motion", "lengths", "message"),
    [
        (torch.zeros(1, 20, FEATURES - 1), [20], "reads"),
        (torch.zeros(1, 20, FEATURES), [0], "1 to 20"),
        (torch.zeros(1, 20, FEATURES), [21], "1 to 20"),
    ],
)
def test_motions_that_cannot_be_read_are_refused(motion: torch.Tensor, lengths: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        small().embed_motion(motion, torch.tensor(lengths))


def test_settings_that_cannot_work_are_refused() -> None:
    for options, message in (({"heads": 3}, "heads"), ({"variant": "x"}, "variant"), ({"weights": {"kll": 1}}, "kll")):
        with pytest.raises(ConfigError, match=message):
            small(**options)
    with pytest.raises(ConfigError, match="joint"):
        small().stage_loss("match", batch())


@pytest.mark.parametrize("variant", ["default", "upstream"])
def test_the_stage_learns_to_match(variant: str) -> None:
    evaluator, data = small(variant=variant, dropout=0.0, vae=False), batch(4)
    optimizer = torch.optim.Adam(list(evaluator.stage_parameters("joint")), lr=5e-3)
    evaluator.train()
    for step in range(60):
        terms = evaluator.stage_loss("joint", data, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    after = evaluator.eval().stage_loss("joint", data)["contrastive"].item()
    assert after < 0.7 * math.log(4)  # chance among four
    assert set(terms) == {"recons", "kl", "latent", "contrastive", "loss"}


def test_only_upstream_validates_with_noise() -> None:
    for variant, equal in (("default", True), ("upstream", False)):
        evaluator = small(variant=variant, dropout=0.0)
        losses = [evaluator.stage_loss("joint", batch(), torch.Generator().manual_seed(s)) for s in (0, 1)]
        assert bool(losses[0]["recons"] == losses[1]["recons"]) is equal


def test_only_upstream_lets_a_longer_clip_of_the_batch_weigh_down_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    motion, mask = torch.randn(2, 9, FEATURES, generator=generator), torch.ones(2, 9, dtype=torch.bool)
    padded = torch.nn.functional.pad(motion, (0, 0, 0, 9)), torch.nn.functional.pad(mask, (0, 9))
    for counted, equal in ((True, True), (False, False)):
        short = reconstruction(motion * 0, motion, mask if counted else None)
        long = reconstruction(padded[0] * 0, padded[0], padded[1] if counted else None)
        assert bool(torch.isclose(short, long)) is equal


def test_false_negatives_are_filtered() -> None:
    same = BagOfWords().encode(["a man kicks", "the person is kicking", "walk"]).pooled
    assert same is not None
    filtered = false_negatives(same, 0.95)
    assert filtered.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    assert not false_negatives(same, None).any()
    everything = ~torch.eye(3, dtype=torch.bool)
    assert contrastive(same, same.roll(1, 0), 0.1, everything) == 0


@pytest.mark.parametrize("definition", ["clean", "hmu"])
def test_masked_embeddings_change_only_where_the_concept_is_named(definition: str) -> None:
    evaluator, concept = small(), Concept(name="kick", keywords=("kick",))
    masked, changed = evaluator.embed_text_masked(CAPTIONS, concept, definition)
    same = (masked - evaluator.embed_text(CAPTIONS)).abs().amax(1) < 1e-6
    assert changed.tolist() == [True, False, False, True]
    assert same.tolist() == [False, True, True, False]


@pytest.mark.parametrize("half", [False, True])
def test_saved_folder_gives_the_same_embeddings(tmp_path: Path, half: bool) -> None:
    evaluator, data = small(), batch()
    evaluator.save_pretrained(tmp_path, dtype="float16" if half else "float32")
    loaded = build(checkpoint=str(tmp_path))
    tolerance = 2e-2 if half else 1e-6
    ours, theirs = (e.embed_motion(data.motion, data.lengths) for e in (loaded, evaluator))
    assert torch.allclose(ours, theirs, atol=tolerance)
    assert torch.allclose(loaded.embed_text(CAPTIONS), evaluator.embed_text(CAPTIONS), atol=tolerance)
    assert (loaded.fingerprint == evaluator.fingerprint) is not half


def test_folders_of_version_01_are_read(tmp_path: Path) -> None:
    evaluator = small(threshold=0.9)
    evaluator.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    old = {"format": "hmu-evaluator-tmr", "version": 1, "settings": stored["parts"], "text": stored["text"]}
    (tmp_path / "config.json").write_text(json.dumps(old))
    loaded = TMREvaluator.load_pretrained(tmp_path)
    assert loaded.fingerprint == evaluator.fingerprint
    assert loaded.threshold == PUBLISHED["threshold"]  # such folders do not state it
    assert build(tmp_path, threshold=None).threshold == 0  # null turns the filter off


def test_what_is_adjusted_wins_and_everything_else_stays(tmp_path: Path) -> None:
    small(threshold=0.9, unit=False, vae=False).save_pretrained(tmp_path)
    loaded = build(tmp_path, text=compact(), width=64, threshold=0.7, temperature=0.2)
    assert (loaded.width, loaded.threshold, loaded.temperature, loaded.unit, loaded.vae) == (8, 0.7, 0.2, False, False)


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no TMR there"):
        build(checkpoint=str(tmp_path))
    small().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["parts"]["motion_encoder"]["heads"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="heads"):
        TMREvaluator.load_pretrained(tmp_path)
    (tmp_path / "last_weights").mkdir()
    with pytest.raises(CheckpointError, match="motion_encoder"):
        build(checkpoint=str(tmp_path), text=BagOfWords())


def test_authors_folder_loads_and_needs_its_own_language_model(shared: Callable[[str], Path], tmp_path: Path) -> None:
    run = shared("golden/evaluators/dev/tmr/run_dir")
    evaluator = from_authors(
        run, text=token_table(run.parent / "datasets/annotations/humanml3d", "distilbert-base-uncased")
    )
    assert evaluator.embed_text([Caption("text number 3")]).shape == (1, evaluator.width)
    with pytest.raises(DataError, match="no stored embedding"):
        evaluator.embed_text([Caption("somebody kicks")])
    with pytest.raises(ConfigError, match="tokens of width 24"):
        build(run, text=BagOfWords(16)).embed_text(CAPTIONS)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="modelname"):
        from_authors(tmp_path)


def test_lightning_checkpoint_is_read_where_nothing_was_extracted(
    shared: Callable[[str], Path], tmp_path: Path
) -> None:
    run = shared("golden/evaluators/dev/tmr/run_dir")
    (tmp_path / "logs" / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "logs/checkpoints/last.ckpt"):
        shutil.copyfile(run / name, tmp_path / name)
    text = token_table(run.parent / "datasets/annotations/humanml3d", "distilbert-base-uncased")
    with pytest.raises(CheckpointError, match=r"evaluator\.statistics"):
        from_authors(tmp_path, text=text)
    statistics = run.parent / "stats/humanml3d/guoh3dfeats"
    assert from_authors(tmp_path, statistics, text).features == 263


def test_a_language_model_reads_captions(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from hmu.text.huggingface import TransformerTextEncoder

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "kicks", "walk"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"vocab_size": len(words), "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    transformers.DistilBertModel(transformers.DistilBertConfig(**sizes)).save_pretrained(tmp_path)
    text = TransformerTextEncoder(tmp_path, trust_network=False)
    condition = text.encode(["a man kicks", "walk"])
    assert condition.mask.sum(1).tolist() == [5, 3]  # begin and end markers count
    assert torch.allclose(condition.tokens[1, :3], text.encode(["walk"]).tokens[0], atol=1e-6)
    assert torch.allclose(condition.pooled.norm(dim=1), torch.ones(2))
    evaluator = small(text, sentences=text)
    evaluator.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["text"] is None
    loaded = build(tmp_path / "saved", text=text)
    assert torch.allclose(loaded.embed_text(CAPTIONS), evaluator.embed_text(CAPTIONS), atol=1e-6)
    assert not any(p.requires_grad for p in text.parameters())
    with pytest.raises(CheckpointError, match="no such folder"):
        TransformerTextEncoder("./nowhere/model")


def test_both_answers_as_the_first_and_keeps_the_other() -> None:
    from tests.evaluators.test_guo import small as guo

    pair = EvaluatorPair(guo(), small())
    assert pair.name == "guo+tmr"
    assert torch.equal(pair.embed_text(CAPTIONS), pair.first.embed_text(CAPTIONS))
    assert set(pair.others) == {"tmr"}
    with pytest.raises(ConfigError, match="both 'tmr'"):
        EvaluatorPair(small(), small())
