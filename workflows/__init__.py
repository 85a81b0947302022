"""The story: the durable workflows that join decisions and activities."""
