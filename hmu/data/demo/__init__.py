"""The embedded procedural data set: short clips of everyday actions, entirely our own."""
