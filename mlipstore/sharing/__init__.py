"""Copies of stores on other machines, and the files they are made of."""
