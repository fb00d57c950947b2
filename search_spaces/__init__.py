"""One TOML file a space: a network, its data, and the precisions allowed."""
