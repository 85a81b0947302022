"""Flag services of the test bed."""
