"""Writers of configurations, one plugin per file; see :mod:`mlipstore.writing`."""
