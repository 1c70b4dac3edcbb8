"""The final model: best.yaml, training from it, and its adapters."""
