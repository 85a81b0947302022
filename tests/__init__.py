"""The tests mirror the code they prove."""
