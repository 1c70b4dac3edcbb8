"""The stage store: records and tensors by content address."""
