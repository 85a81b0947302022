"""The test bed is tested too: a load that sees no drops, or a child that outlives a test, would prove nothing."""
