"""Parity with the authors' code: golden vectors in, one line per case out."""
