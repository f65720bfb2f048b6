"""Bundles in a browser: what runs there, the page for a person, and the server on this machine alone."""
