"""Descriptor rows written for an array library: NumPy, or CuPy, with which they are made on a GPU."""
