"""Raw instruction data: read, checked, split and converted."""
