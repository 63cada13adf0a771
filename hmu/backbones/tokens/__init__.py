"""What generators of motion tokens share: tokenizer, residual transformer, text vectors (MoMask, BAMM)."""
