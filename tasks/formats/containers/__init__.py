"""Containers of rows: files of JSON, JSON Lines, Parquet and Arrow, read row by row."""
