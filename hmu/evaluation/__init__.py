"""Which prompts a model is asked, what is counted in its motions, and how models are compared."""
