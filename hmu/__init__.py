"""hmu: remove a concept from a pretrained human-motion generator, keep the rest, and prove both."""

__version__ = "0.2.0"  # its one home: pyproject.toml reads it here
