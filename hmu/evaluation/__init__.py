"""Which prompts a model is asked, what is counted on its answers, and how the result is told."""
