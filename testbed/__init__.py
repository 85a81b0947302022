"""The test bed: real parts on loopback for the demo and the tests."""
