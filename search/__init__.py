"""What to spend, and on what: the only package that knows Tune and Optuna's study."""
