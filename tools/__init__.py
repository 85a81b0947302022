"""What builds and checks the project, never shipped with it."""
