"""Text encoders behind one interface, with a disk cache of embeddings."""
