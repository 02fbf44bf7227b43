"""Which configurations count, and what people say of them: expressions, edits, annotations, recipes, the card."""
