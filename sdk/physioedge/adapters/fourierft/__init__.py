"""FourierFT over peft: a few Fourier coefficients of every weight's change are fitted."""
