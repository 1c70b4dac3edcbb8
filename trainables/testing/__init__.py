"""Contract tests that train a strategy, and the toy benchmark that they train on."""
