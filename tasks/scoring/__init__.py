"""Scores of answers: metrics, answer formats and answer sets."""
