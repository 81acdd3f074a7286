"""Long work in small records: resumable, shared among processes and machines. Knows no net."""
