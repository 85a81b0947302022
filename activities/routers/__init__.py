"""Routers: one file for each way to move traffic."""
