"""Telling: what was measured, in words, tables, pages and loggers."""
