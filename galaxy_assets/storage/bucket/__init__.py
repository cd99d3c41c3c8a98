"""A data folder in a bucket, with copies of its files on this machine.

Belongs here: the store of a bucket, its heads and objects, the copies and their limit. Does not belong here: the seam
that the rest of the platform goes through (`storage.store`), what is written.
"""
