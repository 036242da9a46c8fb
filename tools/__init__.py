"""Scripts that make what the library ships; nothing in `foreact` imports them."""
