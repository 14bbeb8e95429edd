"""Kernels compiled on the machine at hand: one pass for what PyTorch needs several for."""
