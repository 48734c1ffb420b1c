"""Data files and data sets: found, fetched, checked."""
