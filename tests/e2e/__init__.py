"""Whole rollouts, as people run them."""
