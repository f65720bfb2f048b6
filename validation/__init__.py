"""Parity and gates, without torch."""
