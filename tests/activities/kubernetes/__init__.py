"""What all Kubernetes adapters share."""
