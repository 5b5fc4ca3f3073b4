"""What an adapter from a person's unlabelled signal is worth, beside everything else that could be done with it."""
