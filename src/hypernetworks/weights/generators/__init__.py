"""Generators: what makes weights from a condition. `generator.py` has their base class, `compose.py` combines them."""
