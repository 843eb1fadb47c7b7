"""The simulated vendor: a real HTTP server on loopback that answers as the vendor does."""
