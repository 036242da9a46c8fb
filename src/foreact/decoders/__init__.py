"""Tokens -> pixels."""
