"""Torchmetrics that count."""
