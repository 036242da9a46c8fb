"""MetaWorld: one arm, one thing to open, close or press."""
