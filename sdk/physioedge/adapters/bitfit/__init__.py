"""BitFit: biases alone are fitted."""
