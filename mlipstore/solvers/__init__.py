"""Solvers: one plugin per file, see docs/plugins.md."""
