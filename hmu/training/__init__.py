"""LightningModules: one wraps a backbone's stage, one wraps a method's objective."""
