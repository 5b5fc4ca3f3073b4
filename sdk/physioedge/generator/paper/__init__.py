"""A published recipe as a rival: labelled shapelets and chunks of a whole LoRA as tokens of one GPT-2 that denoises."""
