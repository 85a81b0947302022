"""What every flag adapter promises, and each one against its real service or stand-in."""
