"""The engine: works one batch of assets with the calls that are free."""
