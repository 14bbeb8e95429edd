"""Kernels of a GPU written in Triton, where PyTorch has a slow one, or needs several passes."""
