"""Makes the bundled encoder: `python -m tools.tiny_encoder.train`."""
