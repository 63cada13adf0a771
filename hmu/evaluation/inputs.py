"""Where the inputs of metrics come from: a small function per name, called when a metric first asks for it.

An input that is the same for every model belongs to the set and is computed once for all of them; the others belong to
one repeat of one model. A metric from outside brings what it needs itself (``MotionMetric.providers``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from hmu.data.captions import Caption
from hmu.metrics.base import EvalSamples, Provider

GAIT = "gait"  #: the representation whose windows some metrics read


def real(samples: EvalSamples) -> Tensor | None:
    """Embeddings of the set's real motions ``(m, width)``."""
    clips = samples["prompts"].real
    return None if clips is None else samples["store"].motion(samples["evaluator"], clips.motion, clips.lengths)


def real_states(samples: EvalSamples) -> Tensor | None:
    """The set's real windows of gait ``(m, frames, 63)``."""
    clips = samples["prompts"].real
    return clips.motion if clips is not None and samples["prompts"].representation.name == GAIT else None


def states(samples: EvalSamples) -> Tensor | None:
    """Generated windows of gait ``(n, frames, 63)``."""
    return samples["motion"] if samples["prompts"].representation.name == GAIT else None


def joints(samples: EvalSamples) -> Tensor | None:
    """Generated joints ``(n, frames, joints, 3)``, metres; None where rules and physics do not know the skeleton."""
    known = samples["prompts"].representation
    return known.joints(samples["motion"]) if known.smpl_joints else None


def captions(samples: EvalSamples) -> Sequence[Caption] | None:
    """The prompts, where models are asked by text."""
    return samples["prompts"].captions if samples["prompts"].representation.captioned else None


def masking(definition: str) -> Provider:
    """Embeddings of the prompts without the concept's words ``(n, width)``, and which prompts changed ``(n,)``."""
    return lambda samples: samples["store"].masked(
        samples["evaluator"], samples["captions"], samples["concept"], definition
    )


#: of a set: among them true frames ``(n,)``, and a name per prompt
OF_SET: Mapping[str, Provider] = {
    "lengths": lambda samples: samples["prompts"].lengths,
    "ids": lambda samples: [str(number) for number in range(len(samples["prompts"]))],
    "real": real,
    "real_states": real_states,
    "captions": captions,
    "text": lambda samples: samples["store"].text(samples["evaluator"], samples["captions"]),
    "sentence": lambda samples: samples["store"].sentences(samples["evaluator"], [c.text for c in samples["captions"]]),
    "masking": masking("clean"),
    "masked": lambda samples: samples["masking"][0],
    "changed": lambda samples: samples["masking"][1],
    "masking_hmu": masking("hmu"),
    "masked_hmu": lambda samples: samples["masking_hmu"][0],
    "changed_hmu": lambda samples: samples["masking_hmu"][1],
}
#: of one repeat of one model
OF_REPEAT: Mapping[str, Provider] = {"joints": joints, "states": states}
#: names that a metric may ask for without bringing them
KNOWN = {*OF_SET, *OF_REPEAT, "generated", "repeats", "motion", "fps", "prompts", "concept"}
