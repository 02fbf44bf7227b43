"""Pictures of a model: what is collected from the rows in one pass, and how it is drawn."""
