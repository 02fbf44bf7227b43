"""Descriptors: one plugin per file, see docs/plugins.md."""
