"""A search as asked for, checked and resolved before anything starts."""
