"""Stores elsewhere: S3, web servers, copies."""
