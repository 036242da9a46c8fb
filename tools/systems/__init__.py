"""Makes the trained models that ship in `src/foreact/systems`."""
