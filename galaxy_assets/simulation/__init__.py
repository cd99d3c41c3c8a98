"""The demo surveys: simulated galaxies, radio sources and volunteers. Simulated is simulated, and named so.

Belongs here: `surveys` (what a simulated survey delivers) and what it is drawn from. Does not belong here: any result.
"""
