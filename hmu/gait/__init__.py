"""Gait trials: joint angles, root motion, ground-reaction forces and centres of pressure, 63 columns at 100 Hz."""
