"""Unlearning methods: one file and one YAML each."""
