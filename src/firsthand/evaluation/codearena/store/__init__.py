"""An arena in a database: accounts, problems, submissions, the queue, judges, boards."""
