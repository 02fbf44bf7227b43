"""``compare-data``: what two data sets share, and where their labels differ."""
