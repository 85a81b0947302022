"""Evidence from health data: pure folds from (state, what was seen) to (state, verdict)."""
