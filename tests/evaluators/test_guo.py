"""The HumanML3D evaluator: order, padding, words, stages, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hmu.compose import composed
from hmu.data.batch import MotionBatch
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import CheckpointError, ConfigError, DataError
from hmu.evaluators.base import Evaluator, TrainedEvaluator
from hmu.evaluators.guo import GuoEvaluator, Vocabulary, build
from hmu.evaluators.guo.evaluator import PUBLISHED
from hmu.evaluators.guo.vocabulary import pad_tokens
from hmu.evaluators.masking import mask_caption, mask_substrings

FEATURES = 35  # 12 * 3 - 1: a skeleton of three joints
CAPTIONS = (
    Caption("a man kicks", ("a/DET", "man/NOUN", "kick/VERB")),
    Caption("walk", ("walk/VERB",)),
    Caption("a long one", ("a/DET",) * 30),
    Caption("someone jumps slowly", ("someone/PRON", "jump/VERB", "slowly/ADV")),
)


def small(**options: object) -> GuoEvaluator:
    torch.manual_seed(0)
    sizes = {"word": 6, "text_hidden": 8, "motion_hidden": 10, "movement_hidden": 12, "movement_latent": 7, "width": 5}
    evaluator = GuoEvaluator(FEATURES, **{**PUBLISHED, **sizes, **options})  # type: ignore[arg-type]
    evaluator.prepare(torch.zeros(FEATURES), torch.ones(FEATURES), CAPTIONS)
    return evaluator.eval()


def batch(count: int = 8, frames: int = 60) -> MotionBatch:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(6, frames // 4 + 1, (count,), generator=generator) * 4
    phase = torch.rand(count, 1, FEATURES, generator=generator) * 6
    motion = 2 * torch.sin(torch.arange(frames)[None, :, None] * 0.2 + phase)
    motion *= (torch.arange(frames)[None] < lengths[:, None])[..., None]
    captions = tuple(CAPTIONS[i % len(CAPTIONS)] for i in range(count))
    return MotionBatch(motion, lengths, captions, tuple(map(str, range(count))))


@pytest.mark.parametrize("length", [4, 5, 24, 57, 60])
def test_motion_embedding_does_not_depend_on_the_batch_its_order_or_the_tail(length: int) -> None:
    evaluator, data = small(max_frames=60).double(), batch()
    motion, lengths = data.motion.double(), torch.tensor([length, 60, 8, 16, 33, 60, 44, 12])
    together = evaluator.embed_motion(motion, lengths)
    alone = evaluator.embed_motion(motion[:1, :length], lengths[:1])
    assert torch.allclose(together[:1], alone, atol=1e-12)
    shuffled = torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])
    assert torch.allclose(evaluator.embed_motion(motion[shuffled], lengths[shuffled]), together[shuffled], atol=1e-12)
    noisy = motion.clone()
    noisy[0, length:] = 9.0
    assert torch.allclose(evaluator.embed_motion(noisy, lengths), together, atol=1e-12)


def test_upstream_variant_reads_what_follows_the_end() -> None:
    evaluator, data = small(variant="upstream"), batch()
    noisy = data.motion.clone()
    noisy[:, 24:] = 9.0
    lengths = torch.full((8,), 24)
    assert not torch.allclose(evaluator.embed_motion(noisy, lengths), evaluator.embed_motion(data.motion * 0, lengths))


def test_statistics_are_used_in_real_units() -> None:
    evaluator, data = small(), batch()
    expected = evaluator.embed_motion(data.motion, data.lengths)
    mean, std = torch.linspace(-1, 1, FEATURES), torch.linspace(0.5, 2, FEATURES)
    evaluator.statistics.assign(evaluator.mean * std + mean, evaluator.std * std)
    assert torch.allclose(evaluator.embed_motion(data.motion * std + mean, data.lengths), expected, atol=1e-5)


def test_text_embedding_keeps_the_callers_order() -> None:
    evaluator = small().double()
    together = evaluator.embed_text(CAPTIONS)
    for i, caption in enumerate(CAPTIONS):
        assert torch.allclose(evaluator.embed_text([caption])[0], together[i], atol=1e-12)


def test_free_prompts_are_tagged() -> None:
    evaluator = small()
    assert torch.allclose(evaluator.embed_text([Caption("walk")]), evaluator.embed_text([CAPTIONS[1]]), atol=1e-6)


@pytest.mark.parametrize(
    ("motion", "lengths", "message"),
    [
        (torch.zeros(1, 20, FEATURES - 1), [20], "reads"),
        (torch.zeros(1, 20, FEATURES), [3], "4 to"),
        (torch.zeros(1, 20, FEATURES), [21], "4 to 20"),
        (torch.zeros(1, 400, FEATURES), [300], "4 to 196"),
    ],
)
def test_motions_that_cannot_be_read_are_refused(motion: torch.Tensor, lengths: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        small().embed_motion(motion, torch.tensor(lengths))


@pytest.mark.parametrize("negatives", ["shift", "all"])
def test_both_stages_learn_and_touch_only_their_parameters(negatives: str) -> None:
    evaluator, data = small(negatives=negatives, learn_words=True, margin=3.0), batch()
    evaluator.train()
    for stage in evaluator.stages:
        mine = {id(p) for p in evaluator.stage_parameters(stage)}
        before = {name: p.detach().clone() for name, p in evaluator.named_parameters()}
        optimizer = torch.optim.Adam(list(evaluator.stage_parameters(stage)), lr=1e-2)
        losses = []
        for step in range(25):
            terms = evaluator.stage_loss(stage, data, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            terms["loss"].backward()
            evaluator.clip_gradients(stage, 0.5)
            optimizer.step()
            losses.append(float(terms["loss"].detach()))
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
        changed = {n for n, p in evaluator.named_parameters() if not torch.equal(p, before[n])}
        own = {n for n, p in evaluator.named_parameters() if id(p) in mine}
        assert changed == own


def test_each_encoder_is_clipped_by_itself() -> None:
    evaluator, data = small(learn_words=True), batch()
    evaluator.train()
    (1e6 * evaluator.stage_loss("match", data, torch.Generator().manual_seed(0))["loss"]).backward()
    evaluator.clip_gradients("match", 0.5)
    text = [*evaluator.text_encoder.parameters(), evaluator.word_vectors]
    for part in (text, list(evaluator.motion_encoder.parameters())):
        squares = torch.stack([p.grad.square().sum() for p in part if p.grad is not None])
        assert float(squares.sum().sqrt()) == pytest.approx(0.5, rel=1e-3)


def test_equal_generators_give_equal_losses_and_the_shift_is_never_zero() -> None:
    evaluator, data = small(word_dropout=0.5), batch(2)
    evaluator.train()
    first, again = (evaluator.stage_loss("match", data, torch.Generator().manual_seed(3))["loss"] for _ in range(2))
    assert torch.equal(first, again)
    evaluator.word_dropout = 0.0
    draws = (torch.Generator().manual_seed(s) for s in range(20))
    losses = {float(evaluator.stage_loss("match", data, draw)["loss"].detach()) for draw in draws}
    assert len(losses) == 1  # with two clips the only honest shift is 1


def test_unknown_stage_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="decomp, match"):
        small().stage_loss("vae", batch())
    with pytest.raises(ConfigError, match="negatives"):
        small(negatives="none")


def test_prepare_averages_groups_and_weighs_root_and_contacts() -> None:
    evaluator = small(feat_bias=5.0)
    std = torch.linspace(1, 2, FEATURES)
    evaluator.prepare(torch.zeros(FEATURES), std)
    assert torch.allclose(evaluator.std[1:3], std[1:3].mean() / 5)
    assert torch.allclose(evaluator.std[4:10], std[4:10].mean())
    assert torch.allclose(evaluator.std[-4:], std[-4:].mean() / 5)


@pytest.mark.parametrize("half", [False, True])
def test_saved_folder_gives_the_same_embeddings(tmp_path: Path, half: bool) -> None:
    evaluator, data = small(), batch()
    evaluator.save_pretrained(tmp_path, dtype="float16" if half else "float32")
    loaded = build(checkpoint=str(tmp_path))
    tolerance = 2e-3 if half else 0.0
    assert torch.allclose(
        loaded.embed_motion(data.motion, data.lengths),
        evaluator.embed_motion(data.motion, data.lengths),
        atol=tolerance,
    )
    assert torch.allclose(loaded.embed_text(CAPTIONS), evaluator.embed_text(CAPTIONS), atol=tolerance)
    assert (loaded.fingerprint == evaluator.fingerprint) is not half
    assert not list(tmp_path.glob("*.tmp"))


def test_folders_of_version_01_are_read(tmp_path: Path) -> None:
    evaluator = small(margin=3.0)
    evaluator.save_pretrained(tmp_path, dtype="float16")
    stored = json.loads((tmp_path / "config.json").read_text())
    widths = ("features", "word", "text_hidden", "motion_hidden", "movement_hidden", "movement_latent", "width")
    sizes = {name: stored[name] for name in (*widths, "max_frames")}
    old = {"format": "hmu-evaluator-guo", "version": 1, "sizes": {**sizes, "unit_length": 4}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "vocabulary.json").write_text(json.dumps(stored["words"]))
    loaded = GuoEvaluator.load_pretrained(tmp_path)
    assert torch.allclose(loaded.embed_text(CAPTIONS), evaluator.embed_text(CAPTIONS), atol=2e-3)
    assert loaded.margin == 10.0  # such folders do not state it
    old["sizes"]["unit_length"] = 8  # type: ignore[index]
    (tmp_path / "config.json").write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match="lacks sizes"):
        GuoEvaluator.load_pretrained(tmp_path)


def test_the_published_settings_are_those_of_the_file() -> None:
    given = composed("evaluator", "guo")
    assert {name: given[name] for name in PUBLISHED} == PUBLISHED


def test_fingerprint_changes_with_any_weight_or_word() -> None:
    evaluator = small()
    before = evaluator.fingerprint
    with torch.no_grad():
        evaluator.text_encoder.hidden[0, 0, 0] += 1e-3
    assert evaluator.fingerprint != before


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no evaluator there"):
        build(checkpoint=str(tmp_path))
    small().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for words in (["sos", "eos", "unk"], 3, [["sos"]]):
        (tmp_path / "config.json").write_text(json.dumps({**config, "words": words}))
        with pytest.raises(CheckpointError, match=r"word_vectors|another version"):
            GuoEvaluator.load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        GuoEvaluator.load_pretrained(tmp_path)
    (tmp_path / "text_mot_match").mkdir()
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="glove"):
        build(checkpoint=str(tmp_path))


def test_vocabulary_rules() -> None:
    words = Vocabulary.from_tokens([("walk/VERB", "a/DET", "ball/NUM")])
    assert words.words == ("sos", "eos", "unk", "a", "ball", "walk")
    classes = words.encode([["walk/NOUN", "a/XYZ", "a/DET", "unknown/VERB"]])[1][0].tolist()
    assert classes == [12, 14, 2, 14]  # a VIP word whatever its tag, an unknown tag, a plain tag, an unknown word
    with pytest.raises(DataError, match="unk"):
        Vocabulary(("sos", "eos"))
    framed, count = pad_tokens(["a/DET"] * 30)
    assert len(framed) == count == 22
    assert framed[-1] == "eos/OTHER"


def test_masking_in_both_definitions() -> None:
    framed = ["sos/OTHER", "white/ADJ", "Hit/VERB", "eos/OTHER"]
    assert mask_substrings(framed, ["hit"]) == ["sos/OTHER", "w***e/ADJ", "***/VERB", "eos/OTHER"]
    assert mask_substrings(framed, [])[1] != framed[1]
    concept = Concept(name="kick", keywords=("kick",))
    masked, changed = mask_caption(CAPTIONS[0], concept)
    assert changed
    assert masked.tokens == ("a/DET", "man/NOUN", "unk/OTHER")
    assert "kick" not in masked.text
    assert mask_caption(CAPTIONS[1], concept) == (CAPTIONS[1], False)


@pytest.mark.parametrize("definition", ["clean", "hmu"])
def test_masked_embeddings_change_only_where_the_concept_is_named(definition: str) -> None:
    evaluator, concept = small(), Concept(name="kick", keywords=("kick",))
    masked, changed = evaluator.embed_text_masked(CAPTIONS, concept, definition)
    plain = evaluator.embed_text(CAPTIONS)
    assert changed.tolist() == [True, False, False, False]
    same = (masked - plain).abs().amax(1) < 1e-6
    assert same.tolist() == [False, True, True, True]


def test_a_stub_that_lacks_a_verb_is_refused_at_construction() -> None:
    class Stub(Evaluator):
        fingerprint = "stub"

        def embed_motion(self, motion: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return motion.mean(1)

    with pytest.raises(ConfigError, match=r"Stub: no complete evaluator, it lacks embed_text, embed_text_masked$"):
        Stub()

    class Untrained(TrainedEvaluator, Stub):
        embed_text = embed_text_masked = stage_loss = stage_window = stage_parameters = None

    with pytest.raises(ConfigError, match=r"it lacks prepare$"):
        Untrained(3, 2)
