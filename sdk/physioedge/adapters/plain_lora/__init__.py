"""LoRA over peft as it is published: A and B are both fitted."""
