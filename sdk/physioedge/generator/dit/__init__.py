"""Adapters by diffusion: a transformer over the arrays of an adapter, one token each."""
