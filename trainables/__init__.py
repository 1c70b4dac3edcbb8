"""One trial: a configuration walked through a panel of task orderings, stage by stage."""
