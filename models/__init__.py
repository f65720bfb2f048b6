"""The student and the teachers, in torch."""
