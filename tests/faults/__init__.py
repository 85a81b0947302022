"""The promises, kept while everything around a rollout dies."""
