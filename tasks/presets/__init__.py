"""Benchmarks of the field by name: tasks, order, metrics and prompts; users bring the data."""

from tasks.presets.preset import PRESETS, Expected, Preset, data_folder, load_preset, write_preset

__all__ = ["PRESETS", "Expected", "Preset", "data_folder", "load_preset", "write_preset"]
