"""What sql/ promises, asked of a real PostgreSQL through SQL."""
