"""What kept factors answer without reading a row: fits, cross-validation, uncertainty, what to label next."""
