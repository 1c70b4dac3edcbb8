"""The formulas of the metrics of answers, a file for each kind; `tasks/answers.py` lists them."""
