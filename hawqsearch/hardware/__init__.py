"""What a precision costs on a device: targets as data, measurements, and the model that adds them up."""
