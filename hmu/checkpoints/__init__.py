"""The authors' file formats, read safely; ours, written atomically."""
