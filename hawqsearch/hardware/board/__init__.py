"""A board over ssh: measured by its own onnxruntime, through OpenSSH's own client."""
