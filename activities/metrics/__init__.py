"""Metric sources: one file for each place that knows how a service fares."""
