"""Workload adapters: one contract, kept by the real ones and by the fake."""
