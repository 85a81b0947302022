"""The pure core: what a rollout is and what to do next. Stdlib and pydantic; no I/O, clock or logging."""
