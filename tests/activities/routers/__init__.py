"""Routers: pure requests from golden files, behaviour from the contract suite."""
