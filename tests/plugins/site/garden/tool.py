"""Count the clips of a concept:  ``python -m garden.tool dataset=demo concept=kick``."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from hmu.app import main
from hmu.values import Common, Node, Text


class Keys(Common):
    """What ``configs/count_clips.yaml`` holds."""

    concept: Node
    split: Text


def run(config: DictConfig) -> int:
    """Print and return how many clips of the split name the concept."""
    from hmu.build import instantiate

    source = instantiate(config.dataset).prepare()
    concept = instantiate(config.concept).for_dataset(source.name)
    clips = source.clips(str(config.split))
    count = sum(any(concept.find(caption.text) for caption in captions) for captions in clips.captions)
    sys.stdout.write(f"{count} clips of {source.name}/{config.split} name {concept.name}\n")
    return count


if __name__ == "__main__":
    main("count_clips", run, Keys)
