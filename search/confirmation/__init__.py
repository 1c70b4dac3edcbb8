"""Confirmation of a search: its finalists are trained again on orderings and seeds that chose nothing."""
