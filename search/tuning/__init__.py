"""The search itself over Tune and Optuna: proposing, stopping and following trials."""
