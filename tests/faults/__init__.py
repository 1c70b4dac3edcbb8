"""Small inputs with the faults that users reported to other tools, and the right outcome of each."""
