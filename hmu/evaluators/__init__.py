"""Networks that embed motions and captions."""
