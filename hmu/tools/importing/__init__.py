"""Rooms of the importers: where files come from, what they hold, and what is made of them."""
