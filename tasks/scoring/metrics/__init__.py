"""The formulas of the metrics of answers, a file for each kind; `tasks/scoring/answers.py` lists them."""
