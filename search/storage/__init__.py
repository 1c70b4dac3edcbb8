"""Files of a storage: their kinds, and the check of all of them."""
