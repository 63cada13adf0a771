"""Configurations, laid out as those of hmu."""
