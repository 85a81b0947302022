"""The set-up, without setting anything up."""
