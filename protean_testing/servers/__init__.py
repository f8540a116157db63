"""Private PostgreSQL and Redis servers: started for one run, reached by nobody else, gone after it."""
