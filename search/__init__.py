"""Searches: the only package that builds a Tuner and uses Optuna's studies."""
