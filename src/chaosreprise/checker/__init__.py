"""What judges a history: columns, checks, exposure, the verdict."""
