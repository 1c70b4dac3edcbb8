"""How fast it is: each module measures one ratio side by side in one run, and prints a line of JSON."""
