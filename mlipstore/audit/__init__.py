"""The audit: what physics and book-keeping say about stored configurations (:func:`mlipstore.audit.run.audit`)."""
