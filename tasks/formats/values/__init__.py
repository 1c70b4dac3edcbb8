"""Values of a row in the many forms that users write, each understood or refused."""
