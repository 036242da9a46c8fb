"""Rollouts, metrics with intervals, results, the report."""
