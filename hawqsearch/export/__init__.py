"""One tool a file: a configuration, handed to what deploys it."""
