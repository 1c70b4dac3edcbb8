"""Measurements of speed: each module measures one ratio in one run, and prints a line of JSON."""
