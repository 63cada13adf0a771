"""A package that adds one thing of every kind to hmu, for tests; also a template for your own."""
