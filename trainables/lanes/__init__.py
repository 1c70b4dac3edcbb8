"""Warm groups of training workers, and the runner in this process."""
