"""DoRA over peft: a weight's direction by LoRA, its size by a number a row."""
