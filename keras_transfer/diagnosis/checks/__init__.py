"""What the doctor looks for: each check is one function of a case."""
