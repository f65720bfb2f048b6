"""What can be proven of the Android demo on a machine without Android: `make android-check`."""
