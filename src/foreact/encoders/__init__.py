"""Pixels -> tokens: the bundled `tiny` encoder and any Hugging Face vision model."""
