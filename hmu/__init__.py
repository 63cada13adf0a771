"""hmu: remove a concept from a pretrained human-motion generator, keep the rest, and prove both."""

__version__ = "0.1.0"
