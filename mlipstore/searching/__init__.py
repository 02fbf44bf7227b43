"""Searches over the settings of a fit: spaces, methods, trials, studies."""
