"""A model folder looked into before any worker starts: files, kind, weights, chat template."""
