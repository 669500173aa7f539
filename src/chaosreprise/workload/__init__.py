"""The load: a seeded plan and the process that sends it."""
