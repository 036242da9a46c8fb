"""Rewards of imagined chunks: a reward is its file and one line of `registry.REWARDS`."""
