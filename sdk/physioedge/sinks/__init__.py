"""Where results go: text, Lab Streaming Layer, a broker, behind one small protocol. docs/sources.md."""
