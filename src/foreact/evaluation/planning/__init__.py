"""What a planner reaches: goals out of held-out recordings, and the task's own."""
