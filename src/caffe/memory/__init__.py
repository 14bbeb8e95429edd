"""Values: blobs, their memory on the CPU and on a GPU in step, and where large arrays lie."""
