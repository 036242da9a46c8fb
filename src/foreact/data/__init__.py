"""LeRobot datasets on disk <-> batches in memory; importers, pair sampling, token cache. Knows no model."""
