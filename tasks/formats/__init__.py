"""Readers of the formats that instruction data come in, and detection of a file's format."""
