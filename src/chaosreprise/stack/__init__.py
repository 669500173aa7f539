"""A platform that Reprise starts itself as local processes: the keeper, its client and its starter."""
