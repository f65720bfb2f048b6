"""Large models that show the student what to paint: one protocol, and one file family a system."""
