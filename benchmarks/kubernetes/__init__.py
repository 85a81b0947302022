"""Rollouts on a real Kubernetes control plane, asked the questions that Argo Rollouts and Flagger were asked.

The router is ingress-nginx's annotations, as it was with them, and what is timed is the canary Ingress as the API
server tells it: how long a controller takes to follow it is the same for all, and not in here.
"""
