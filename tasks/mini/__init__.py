"""The embedded benchmark: twelve small tasks over real, human-made images, and the code that builds it."""
