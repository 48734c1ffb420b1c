"""Networks that make the weights of other networks."""
