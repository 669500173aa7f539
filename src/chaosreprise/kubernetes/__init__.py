"""Kubernetes: calls to the API of a cluster, and objects that are watched there."""
