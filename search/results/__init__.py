"""The run folder read back as typed rows, tables and the outcome."""
