"""(s_t, actions) -> s_{t+h}."""
