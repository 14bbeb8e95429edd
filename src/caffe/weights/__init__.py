"""Files of trained weights: .caffemodel of any age, and HDF5."""
