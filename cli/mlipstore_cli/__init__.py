"""The command line of mlipstore: parse, call one verb, show the result."""
