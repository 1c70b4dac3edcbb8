"""Cluster, memory, lanes and storage that a search needs."""
