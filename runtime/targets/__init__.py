"""Where exported files are run: this machine, an emulated one, another one over the network."""
