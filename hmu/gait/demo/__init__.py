"""A procedural set of gait trials: walking at several speeds, crouch, stiff knee, running; nothing is recorded."""

from hmu.gait.demo.build import generate

__all__ = ["generate"]
