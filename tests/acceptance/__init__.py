"""Whole rollouts on a real Kubernetes control plane, in the situations that Argo Rollouts and Flagger test themselves.

Which of their tests is which of ours is in docs/peers.md.
"""
