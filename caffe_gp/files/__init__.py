"""Everything that touches files, once: atomic writing, hashes, JSON, checks, downloads."""
