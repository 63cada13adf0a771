"""Published generators, one package each; their parameter names are the checkpoints'."""
