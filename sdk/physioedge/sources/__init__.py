"""Where signals come from: files of any format and live sensors, behind one small protocol. docs/sources.md."""
