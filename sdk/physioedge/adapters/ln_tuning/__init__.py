"""LayerNorm tuning over peft: scales and shifts of the norms are fitted."""
