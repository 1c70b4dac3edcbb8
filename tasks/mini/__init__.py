"""The embedded benchmark: twelve small tasks over real, human-made images, remade by code."""
