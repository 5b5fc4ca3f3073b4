"""(IA)3 over peft: one factor a feature is fitted."""
