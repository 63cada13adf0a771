"""Pictures and animations of motions."""
