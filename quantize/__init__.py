"""One recipe, three formats."""
