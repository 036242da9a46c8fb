"""Studies that compare methods: each trains what it needs, is resumable, and leaves results with intervals."""
