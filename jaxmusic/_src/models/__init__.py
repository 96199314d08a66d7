"""Neural networks over event tensors."""
