"""The embedded platform: PostgreSQL, a control plane, agents and sessions as real processes."""
