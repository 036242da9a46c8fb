"""Policies at the end of a line: the server that robots ask, and its page for a person."""
