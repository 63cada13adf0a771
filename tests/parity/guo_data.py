"""Parity of the evaluator's words and data set (``guo_data``), and of HMU's whole evaluation run (``hmu_eval``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.data.clips import MotionClips
from hmu.evaluators.guo.authors import from_encoders, load_encoders
from hmu.evaluators.guo.vocabulary import CLASSES, Vocabulary, load_glove, pad_tokens
from hmu.evaluators.masking import mask_substrings
from tests.parity.arithmetic import floor_length
from tests.parity.case import Case, read_arrays, read_json
from tests.parity.checks import Checks, compare, exact, fewest_failures, match, unchecked
from tests.parity.dataset import cut, one_hot, reading, vip_words
from tests.parity.guo import F32
from tests.parity.hmu_sums import Accumulated, changed_by, draw_like_hmu, result_checks
from tests.parity.kinds import compares

LIMIT = 196
PUBLISHED = {"original_kit": "kit", "hmu_MotionX": "Motion-X"}


# -- words ------------------------------------------------------------------------------------------------------------
@compares("guo_data", known=(".npz", ".json", "glove"), files=("vectorizer.npz",))
def data(case: Case) -> Checks:
    """Word vectors and classes token by token, then the published data set classes entry by entry."""
    vocabulary, vectors = load_glove(case.folder / "glove")
    recorded = read_json(case.folder / "vectorizer.json")
    rows, classes = vocabulary.encode([recorded["tokens"]])
    ours = {"pos_order": list(CLASSES), "vip_words": vip_words(), "len": len(vocabulary)}
    for key, value in ours.items():
        if key in recorded:
            yield exact(key, value, vip_words(recorded[key]) if key == "vip_words" else recorded[key])
        else:
            yield unchecked(key, "absent")
    outputs = {"pos_index": classes[0], "pos_onehot": one_hot(classes[0].numpy()), "word_vectors": vectors[rows[0]]}
    yield from case.given(outputs, 1e-7)
    if "word_index" in case:
        stored_rows = np.load(case.folder / "glove" / "our_vab_data.npy", allow_pickle=False)
        yield compare("rows by index", stored_rows[case.raw("word_index")], vectors[rows[0]], 1e-7)
    if (case.folder / "dataset.json").is_file():
        yield from _dataset(case, vocabulary, vectors)
    else:
        yield unchecked("data set", "no dataset.json")


# -- data set classes -------------------------------------------------------------------------------------------------
def _dataset(case: Case, vocabulary: Vocabulary, vectors: Tensor) -> Checks:
    recorded, arrays = read_json(case.folder / "dataset.json"), read_arrays(case.folder / "dataset.npz")
    files = {name: recorded["files"][name] for name in recorded["split"]}
    files = {name: file for name, file in files.items() if file["length"] and file["text_lines"] is not None}
    texts = {name: "\n".join(file["text_lines"]) for name, file in files.items()}
    motions = {name: _formula_motion(file, recorded["dim"]) for name, file in files.items()}
    for variant, expected in recorded["results"].items():
        rule, published = ("hmu_eval", "HumanML3D") if variant.startswith("hmu_") else ("original", "t2m")
        with reading(list(files), texts, motions, rule=rule, dataset=PUBLISHED.get(variant, published)) as clips:
            numbered = zip(clips.table.number.tolist(), clips.clip_ids, strict=True)
            names = [_plain(clip if rule == "original" else f"{number}%{clip}") for number, clip in numbered]
            yield exact(f"{variant} names", names, [_plain(name) for name in expected["names"]])
            yield exact(f"{variant} lengths", clips.lengths.tolist(), expected["lengths"])
            by_name = [expected["captions"][name] for name in expected["names"]]
            ours = [[caption.text for caption in captions] for captions in clips.captions]
            yield exact(f"{variant} captions", ours, by_name)
            for k, item in enumerate(expected["items"]):
                if item.get("error"):
                    yield unchecked(f"{variant}/{k}", "the authors' reader raised")
                else:
                    yield from _item(f"{variant}/{k}", clips, item, arrays, (vocabulary, vectors))
            if "collate" in expected:
                yield from _collate(variant, clips, expected["collate"])
            del clips


def _plain(name: str) -> str:
    """A name without the random letter that the original puts before sub-clips."""
    return name[2:] if name[1:2] == "_" else name


def _item(
    name: str,
    clips: MotionClips,
    item: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    words: tuple[Vocabulary, Tensor],
) -> Checks:
    index, statistics = item["index"], (arrays["mean"], arrays["std"])
    captions, frames = clips.captions[index], int(clips.lengths[index])
    caption = captions[min(item["text_choice"], len(captions) - 1)]
    framed, count = pad_tokens(caption.tokens)
    rows, classes = words[0].encode([framed])
    length = floor_length(frames, 4, double=item["coin"] == "double")
    expected = (item["caption"], item["tokens"], item["sent_len"])
    yield exact(f"{name} caption", (caption.text, "_".join(framed), count), expected)
    yield exact(f"{name} length", length, item["m_length"])
    yield from _given(name, {"word": words[1][rows[0]], "pos_index": classes[0].numpy()}, arrays, 1e-7)
    first = item["start_fraction"] * (frames - length)
    # the draw was forced to a fraction of the range; whichever neighbour of it was taken
    cuts = [cut(clips, index, start, length, statistics) for start in {int(np.floor(first)), int(np.ceil(first))}]
    yield from fewest_failures(_given(name, _summaries(motion), arrays, F32) for motion in cuts)


def _summaries(motion: np.ndarray) -> dict[str, Any]:
    """What the case stores of a cut."""
    shape = np.array([max(LIMIT, len(motion)), motion.shape[1]])
    ends = {"motion_first": motion[0], "motion_last_valid": motion[-1]}
    return {**ends, "motion_sum_abs": np.abs(motion).sum(), "motion_shape": shape}


def _given(name: str, ours: Mapping[str, Any], arrays: Mapping[str, np.ndarray], tolerance: float) -> Checks:
    """Our values beside those that are stored."""
    for key, value in ours.items():
        stored, what = arrays.get(f"{name}/{key}"), f"{name} {key}"
        yield unchecked(what, "absent") if stored is None else match(what, value, stored, tolerance)


def _formula_motion(file: Mapping[str, Any], width: int) -> np.ndarray:
    t, j = np.arange(file["length"])[:, None], np.arange(width)[None]
    index = file["index"]
    values: np.ndarray = np.sin(0.05 * t * (1 + 0.3 * index) + 0.11 * j + 0.7 * index)
    return values.astype(np.float32)


def _collate(variant: str, clips: MotionClips, expected: Mapping[str, Any]) -> Checks:
    """Stable, descending by token count; the first entries went in with their first captions."""
    framed = [pad_tokens(captions[0].tokens) for captions in clips.captions[: len(expected["sent_lens_before"])]]
    yield exact(f"{variant} counts before collate", [count for _, count in framed], expected["sent_lens_before"])
    ordered = sorted(framed, key=lambda pair: -pair[1])
    yield exact(f"{variant} counts after collate", [count for _, count in ordered], expected["sent_lens_after"])
    yield exact(f"{variant} tokens after collate", ["_".join(t) for t, _ in ordered], expected["tokens_after"])


# -- HMU's evaluation with our evaluator ------------------------------------------------------------------------------
@compares("hmu_eval", known=(".npz", ".json", "glove"), files=())
def evaluation(case: Case) -> Checks:
    """The authors' ``eval_t2m_unlearn`` on stored motions: every result of every run."""
    folder = case.folder
    recorded, arrays = read_json(folder / "expected.json"), read_arrays(folder / "batches.npz")
    named = folder / str(recorded.get("evaluator", "../guo_h3d"))
    path = next(iter(sorted((named if named.is_dir() else folder.parent).rglob("finest.tar"))))
    evaluator = from_encoders(load_encoders(path), str(path), glove=folder / "glove", variant="upstream")
    tokens = [[line.split("_") for line in batch] for batch in recorded["tokens"]]
    masked = [["_".join(mask_substrings(words, recorded["toxic_terms"])) for words in batch] for batch in tokens]
    yield exact("masked tokens", masked, recorded["tokens_masked"])
    yield exact("batch sizes", [len(batch) for batch in tokens], recorded["batch_sizes"])
    for name, expected in recorded["results"].items():
        terms = {"term_that_never_occurs": ["\x00"], "empty_term_list": []}.get(name, recorded["toxic_terms"])
        sums = _run(evaluator, arrays, tokens, terms, name.startswith("with_multimodality"))
        yield from result_checks(name, sums.results(draw_like_hmu(recorded["numpy_seed"], sums)), expected)


def _run(
    evaluator: Any, arrays: Mapping[str, np.ndarray], tokens: Sequence[Any], terms: Sequence[str], repeated: bool
) -> Accumulated:
    sums = Accumulated()
    for i, framed in enumerate(tokens):
        frames, counts = (torch.from_numpy(arrays[f"b{i}_{name}"]) for name in ("m_length", "sent_len"))
        pose, generated = (torch.from_numpy(arrays[f"b{i}_{name}_f16"]).float() for name in ("pose", "generated"))
        censored, changed = changed_by(framed, terms)
        factors = [1 + 0.02 * k for k in range(30 if repeated and i < 3 else 1)]
        motions = torch.stack([_embed(evaluator, generated * factor, frames) for factor in factors], 1)
        sums.add(
            torch.argsort(frames, stable=True).flip(0),
            text=evaluator.embed_tokens(framed, counts),
            masked=evaluator.embed_tokens(censored, counts),
            changed=changed,
            real=_embed(evaluator, pose, frames),
            motion=motions[:, -1],
            repeats=motions if len(factors) > 1 else None,
        )
    return sums


def _embed(evaluator: Any, normalised: Tensor, frames: Tensor) -> Tensor:
    """Embeddings of motions that are already in the evaluator's normalised space, padding as given."""
    tokens = evaluator.movement(normalised)
    return evaluator.motion_encoder(tokens, frames // evaluator.unit_length)  # type: ignore[no-any-return]
