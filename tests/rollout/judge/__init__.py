"""Evidence: what a gate makes of its samples."""
