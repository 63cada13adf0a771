"""BAMM: bidirectional autoregressive motion model (Pinyoanuntapong et al., ECCV 2024)."""
