"""QLoRA: LoRA, over peft, around a base that is held in int8 or in 4 bits."""
