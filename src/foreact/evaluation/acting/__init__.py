"""A policy's success in a simulator: the truth about any policy."""
