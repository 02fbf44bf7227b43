"""The files that an Icechunk repository of format 1 is made of, read without Icechunk, and their digests."""
