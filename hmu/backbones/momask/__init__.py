"""MoMask: generative masked modelling of motion tokens (Guo et al., CVPR 2024)."""
