"""Weights in from other implementations, and out to them."""
