"""Checks of the audit: one per file of this folder (:class:`mlipstore.audit.material.Check`)."""
