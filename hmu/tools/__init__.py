"""Command-line tools: python -m hmu.tools.<name>."""
