"""Every kind of picture of a unit side by side, and what each is worth."""
