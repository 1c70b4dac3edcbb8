"""What `benchmarks/paper_claims.py` is made of: runs, their results, statistics, verdicts, the page."""
