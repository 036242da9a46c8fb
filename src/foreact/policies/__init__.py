"""Policies: observation -> action chunk, one file per method."""
