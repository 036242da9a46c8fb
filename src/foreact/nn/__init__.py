"""Attention blocks, position codes, flow matching: pure and small."""
