"""The hands, each against the real thing or a strict double of it."""
