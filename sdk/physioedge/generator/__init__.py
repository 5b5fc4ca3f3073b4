"""From a condition to LoRA weights: the set that is learned from, and what is learned."""
