"""Runners of exported files, without torch."""
