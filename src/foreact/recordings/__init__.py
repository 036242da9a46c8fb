"""Datasets with their split, frozen encoder and token cache, and the batches that are drawn from them."""
