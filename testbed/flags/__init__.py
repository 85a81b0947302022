"""Flag services for tests and the demo: real ones, and stand-ins where no real one can run."""
