"""Preflight: what an exported graph will meet on a target, told before anything runs there."""
