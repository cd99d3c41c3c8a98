"""The demo surveys: simulated galaxies, radio sources and volunteers. Simulated is simulated, and named so."""
