"""Calibration of confirmations: on simulated searches, and on a recorded table of real trials."""
