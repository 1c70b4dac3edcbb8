"""Tasks as the loop reads them: examples, orderings, benchmarks."""
