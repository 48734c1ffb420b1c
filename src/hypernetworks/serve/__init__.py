"""Serve text from trained runs over HTTP: a web page and a JSON API."""
