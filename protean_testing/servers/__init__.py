"""Real servers that belong to one run: started for it, reached by nobody else, gone after it."""
