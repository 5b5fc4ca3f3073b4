"""Whether adapters that are worse than the model they change are found out by the guard, on real people."""
