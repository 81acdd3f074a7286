"""Getting files from where they were published: resumable downloads, hashes, archives."""
