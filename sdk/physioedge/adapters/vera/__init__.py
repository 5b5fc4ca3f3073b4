"""VeRA over peft: one pair of random matrices for all layers, two vectors a layer are fitted."""
