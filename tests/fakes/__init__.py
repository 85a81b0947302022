"""Hand-written doubles of the ports: in memory, honest, with faults that a test switches while a rollout runs."""
