"""Editing the codes of a token model's tokeniser."""
