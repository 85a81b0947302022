"""Metric sources against a strict double and the real server."""
