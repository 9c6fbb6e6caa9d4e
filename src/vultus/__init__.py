"""vultus: face recognition."""
