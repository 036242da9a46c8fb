"""Reaching a goal picture: what futures cost, who searches the actions, and the policy that does both."""
