"""Words as the HumanML3D evaluator reads them: a vector each, and one of fifteen classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmu.checkpoints.arrays import load_array
from hmu.checkpoints.words import read_word_index
from hmu.data.captions import Caption
from hmu.data.tagger import tagged
from hmu.errors import DataError

SOS, EOS, UNK = "sos", "eos", "unk"
MAX_TOKENS = 20

_TAGS = ("VERB", "NOUN", "DET", "ADP", "NUM", "AUX", "PRON", "ADJ", "ADV")
# Word lists that the published evaluator treats as classes of their own, by exact surface form; the first list wins.
_VIP = {
    "Loc_VIP": "left right clockwise counterclockwise anticlockwise forward back backward up down straight curve",
    "Body_VIP": "arm chin foot feet face hand mouth leg waist eye knee shoulder thigh",
    "Obj_VIP": "stair dumbbell chair window floor car ball handrail baseball basketball",
    "Act_VIP": "walk run swing pick bring kick put squat throw hop dance jump turn stumble stop sit lift lower raise "
    "wash stand kneel stroll rub bend balance flap jog shuffle lean rotate spin spread climb",
    "Desc_VIP": "slowly carefully fast careful slow quickly happy angry sad happily angrily sadly",
}
CLASSES = (*_TAGS, *_VIP, "OTHER")
_CLASS_INDEX = {name: i for i, name in enumerate(CLASSES)}
_OTHER = _CLASS_INDEX["OTHER"]
VIP_WORDS: dict[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _VIP.items()}
_VIP_CLASS = {word: _CLASS_INDEX[name] for name in reversed(VIP_WORDS) for word in VIP_WORDS[name]}


def split_token(token: str) -> tuple[str, str]:
    """``word/POS -> (word, POS)``, cut at the last slash; a token without one has the empty tag."""
    word, slash, tag = token.rpartition("/")
    return (word, tag) if slash else (token, "")


def pad_tokens(tokens: Sequence[str], most: int = MAX_TOKENS) -> tuple[list[str], int]:
    """Frame a caption's tokens: ``sos``, at most ``most`` tokens, ``eos``, then ``unk`` up to ``most + 2``.

    Returns the framed tokens and the count that the encoder reads (begin and end markers included).
    """
    framed = [f"{SOS}/OTHER", *tokens[:most], f"{EOS}/OTHER"]
    count = len(framed)
    return framed + [f"{UNK}/OTHER"] * (most + 2 - count), count


def framed_tokens(captions: Sequence[Caption]) -> tuple[list[list[str]], Tensor]:
    """Framed tokens of every caption (tagged by rule where it has none), and how many of them are read ``(batch,)``."""
    pairs = [pad_tokens(tagged(caption).tokens) for caption in captions]
    return [tokens for tokens, _ in pairs], torch.tensor([count for _, count in pairs])


@dataclass(frozen=True)
class Vocabulary:
    """Known words, in row order of the word vectors. ``sos``, ``eos`` and ``unk`` are always among them.

    Raises:
        DataError: a marker is missing, or a word comes twice.
    """

    words: tuple[str, ...]
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {word: row for row, word in enumerate(self.words)}
        missing = [marker for marker in (SOS, EOS, UNK) if marker not in index]
        if missing or len(index) != len(self.words):
            fault = f"lacks '{missing[0]}'" if missing else "holds a word twice"
            raise DataError(
                f"vocabulary of {len(self.words)} words {fault}; sos, eos, unk and distinct words are needed"
            )
        object.__setattr__(self, "index", index)

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def from_tokens(cls, captions: Iterable[Sequence[str]]) -> Vocabulary:
        """The markers, then every word among ``word/POS`` tokens, sorted."""
        words = {split_token(token)[0] for tokens in captions for token in tokens}
        return cls((SOS, EOS, UNK, *sorted(words - {SOS, EOS, UNK, ""})))

    def lookup(self, token: str) -> tuple[int, int]:
        """``word/POS`` -> (row of the word vector, class index).

        An unknown word is ``unk``/OTHER whatever its tag; a known one has its own class if it is in a VIP list, else
        its tag's, else OTHER. Surface forms are compared exactly.
        """
        word, tag = split_token(token)
        row = self.index.get(word)
        if row is None:
            return self.index[UNK], _OTHER
        return row, _VIP_CLASS.get(word, _CLASS_INDEX.get(tag, _OTHER))

    def encode(self, framed: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Framed captions of equal length -> rows and classes, both int64 ``(batch, tokens)``."""
        pairs = torch.tensor([[self.lookup(token) for token in tokens] for tokens in framed], dtype=torch.int64)
        pairs = pairs.reshape(len(framed), -1, 2)
        return pairs[..., 0], pairs[..., 1]

    def drop(
        self, rows: Tensor, classes: Tensor, share: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Rows and classes, int64 ``(batch, tokens)``, a ``share`` of the words replaced by ``unk``/OTHER; the markers
        at begin and end stay.
        """
        device = torch.device("cpu") if generator is None else generator.device
        draw = torch.rand(rows.shape, generator=generator, device=device).to(rows.device)
        framing = torch.tensor([self.index[SOS], self.index[EOS]], device=rows.device)
        dropped = (draw < share) & ~torch.isin(rows, framing)
        return rows.masked_fill(dropped, self.index[UNK]), classes.masked_fill(dropped, _OTHER)


def load_glove(folder: Path | str) -> tuple[Vocabulary, Tensor]:
    """The words of ``our_vab_idx.pkl`` and their vectors in ``our_vab_data.npy``, ``(words, word)`` float32 in order.

    Raises:
        DataError, CheckpointError: a file is missing or broken, or rows and words do not fit.
    """
    folder = Path(folder)
    path = folder / "our_vab_data.npy"
    if not path.is_file():
        raise DataError(
            f"{path}: no such file, expected the evaluator's word vectors; put the authors' glove folder there"
        )
    index = read_word_index(folder / "our_vab_idx.pkl")
    vectors = load_array(path)
    if vectors.ndim != 2 or not index or max(index.values()) >= len(vectors) or min(index.values()) < 0:
        raise DataError(f"{path}: shape {vectors.shape} does not hold the rows of {folder / 'our_vab_idx.pkl'}")
    rows = np.fromiter(index.values(), dtype=np.int64, count=len(index))
    return Vocabulary(tuple(index)), torch.from_numpy(vectors[rows].astype(np.float32))


def random_vectors(count: int, width: int, seed: int) -> Tensor:
    """Seeded unit-variance directions scaled to norm about 1, ``(count, width)``: words start out unrelated."""
    generator = torch.Generator().manual_seed(seed)
    vectors: Tensor = torch.randn(count, width, generator=generator)
    return vectors.mul_(float(width) ** -0.5)
