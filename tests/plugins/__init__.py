"""Plug-ins: what a package from outside can add, and the package that does."""
