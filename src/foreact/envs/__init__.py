"""Simulators behind optional extras."""
