"""Networks of the HumanML3D evaluator (Guo et al., CVPR 2022), named as in its checkpoints.

Every encoder takes rows in any order and gives them back in that order; lengths need not be sorted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

SLOPE = 0.2


class MovementEncoder(nn.Module):
    """Two strided convolutions: four frames become one movement token.

    ``(batch, frames, features - 4) -> (batch, frames // 4, latent)``. Foot contacts are cut off by the caller. The
    published order (dropout before the activation) is kept.
    """

    def __init__(self, features: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv1d(features, hidden, 4, 2, 1),
            nn.Dropout(0.2),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(hidden, latent, 4, 2, 1),
            nn.Dropout(0.2),
            nn.LeakyReLU(SLOPE),
        )
        self.out_net = nn.Linear(latent, latent)

    def forward(self, motion: Tensor) -> Tensor:
        """Normalised motion ``(batch, frames >= 4, features - 4)`` -> tokens ``(batch, frames // 4, latent)``."""
        return self.out_net(self.main(motion.transpose(1, 2)).transpose(1, 2))


class MovementDecoder(nn.Module):
    """The other half of the movement auto-encoder: ``(batch, tokens, latent) -> (batch, 4 * tokens, features)``."""

    def __init__(self, latent: int, hidden: int, features: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose1d(latent, hidden, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose1d(hidden, features, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
        )
        self.out_net = nn.Linear(features, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens -> normalised motion with all its columns, foot contacts included."""
        return self.out_net(self.main(tokens.transpose(1, 2)).transpose(1, 2))


def _head(hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, width)
    )


def _read(gru: nn.GRU, start: Tensor, sequence: Tensor, lengths: Tensor) -> Tensor:
    """Last forward and backward state ``(batch, 2 * hidden)`` of a bidirectional GRU over ``lengths`` steps each."""
    initial = start.expand(-1, sequence.shape[0], -1).contiguous()
    packed = pack_padded_sequence(sequence, lengths.cpu(), batch_first=True, enforce_sorted=False)
    _, last = gru(packed, initial)
    return torch.cat((last[0], last[1]), dim=-1)


class TextEncoder(nn.Module):
    """Bidirectional GRU over word vectors plus embedded word classes (``TextEncoderBiGRUCo``)."""

    def __init__(self, word: int, classes: int, hidden: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.randn(2, 1, hidden))
        self.pos_emb = nn.Linear(classes, word)
        self.input_emb = nn.Linear(word, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.output_net = _head(hidden, width)

    def forward(self, words: Tensor, classes: Tensor, lengths: Tensor) -> Tensor:
        """Word vectors ``(batch, words, word)``, one-hot classes ``(batch, words, classes)``, counts ``(batch,)`` >= 1.

        Returns ``(batch, width)``.
        """
        inputs = self.input_emb(words + self.pos_emb(classes))
        return self.output_net(_read(self.gru, self.hidden, inputs, lengths))


class MotionEncoder(nn.Module):
    """Bidirectional GRU over movement tokens (``MotionEncoderBiGRUCo``)."""

    def __init__(self, latent: int, hidden: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.randn(2, 1, hidden))
        self.input_emb = nn.Linear(latent, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.output_net = _head(hidden, width)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Movement tokens ``(batch, tokens, latent)``, token counts ``(batch,)`` >= 1 -> ``(batch, width)``."""
        return self.output_net(_read(self.gru, self.hidden, self.input_emb(tokens), lengths))
