"""What people copy from deploy/ says what the code does."""
