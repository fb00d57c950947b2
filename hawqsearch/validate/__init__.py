"""What a configuration is really worth: its accuracy on the runtime that will run it."""
