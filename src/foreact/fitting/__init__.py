"""From videos to a report: what is to be done, what it will cost here, and doing it."""
