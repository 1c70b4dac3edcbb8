"""Everything that each DeepSpeed rank does for a stage."""
