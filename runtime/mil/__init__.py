"""MIL, the language inside an `.mlpackage`, executed with torch: one file per family of operations."""
