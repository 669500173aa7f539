"""What watches the platform and the world: ledger tailers and samplers, each with its coverage."""
