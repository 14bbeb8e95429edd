"""What layers are in ONNX's operators, a file for each family; all of them are read for rules."""
