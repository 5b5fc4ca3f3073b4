"""LoRA over peft: A shared and frozen, only B fitted (design decision 3)."""
