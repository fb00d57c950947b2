"""What the stages say to each other: frozen values and the protocols."""
