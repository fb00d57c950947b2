"""Networks and data of the built-in search spaces, one file each; trained weights lie beside them."""
