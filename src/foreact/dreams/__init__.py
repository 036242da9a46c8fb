"""World models put to use: an encoder before them, an image decoder behind them, one noise per row."""
