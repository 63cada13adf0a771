"""Folders of motions and captions, and how they are split into forget and retain."""
