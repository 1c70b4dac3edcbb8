"""Score matrices and every continual-learning metric made from them."""
