"""What a stranger's file may cost: every limit on bytes, pixels, ratios, members and nesting, in one place.

docs/surveys.md has them as a table, which a test compares with this module.

Belongs here: the numbers, and what they are of. Does not belong here: keeping to them (where the files are read), and
what a person may set (the models beside this module).
"""

MINIMUM_SIDE = 16
"""Shortest side of a usable image, pixels."""
MAXIMUM_SIDE = 16_384
"""Longest side that is decoded, pixels."""
MAXIMUM_PIXELS = 64_000_000
"""Largest number of pixels that is decoded."""
MAXIMUM_BYTES = 2**30
"""Largest file of an image that is read, bytes: a cube of three such planes of float32 has three quarters of it."""
MAXIMUM_MEMORY = 768 * 2**20
"""Most memory that decoding one image may take, bytes."""
MEMORY_PER_BYTE = 64
"""A file larger than MAXIMUM_MEMORY over this may take this many times its own size, up to LARGEST_MEMORY."""
LARGEST_MEMORY = 2 * 2**30
"""Most memory that decoding one image may take, bytes, however large its file is."""
JOINT_MEMORY = 2 * 2**30
"""Bytes of files and pixels that all threads of a process may hold at once; one image that needs more is alone."""
MAXIMUM_UNPACKED = 256 * 2**20
"""Largest content of a compressed file (gzip, bzip2, xz), bytes."""
UNPACKED_PER_BYTE = 16
"""A file larger than MAXIMUM_UNPACKED over this may unpack to this many times its own size, up to MAXIMUM_BYTES."""

MAXIMUM_MEMBERS = 1_000_000
"""Most files or rows of one archive: as many names are held in memory."""
MAXIMUM_DIRECTORY = 256 * 2**20
"""Largest directory of a zip, and most that all headers of a tar may have, bytes."""
MAXIMUM_HEADER = 2**23
"""Largest extended header of a tar, and largest file beside an image that says something of it, bytes."""
MAXIMUM_ARRAY = 2**28
"""Largest image in an array, largest chunk of an array, and largest list of names, bytes."""
ARRAY_PER_BYTE = 20
"""An image larger than MAXIMUM_ARRAY in an archive may have this many times its packed size."""
MAXIMUM_SPOOL = 256 * 2**20
"""Largest plain tar that is written of an archive, bytes."""
SPOOL_PER_BYTE = 20
"""An archive larger than MAXIMUM_SPOOL over this may unpack to this many times its own size."""
RESERVED_DISK = 2**30
"""Bytes of the disk that a plain tar leaves free."""
COLUMN_PER_BYTE = 100
"""A column of a Parquet file that unpacks to more than MAXIMUM_ARRAY may unpack to this many times its packed size."""
DATASET_PER_BYTE = 200
"""An array of an HDF5 file of more than MAXIMUM_BYTES may have this many times its packed size."""
MAXIMUM_BATCH = 64 * 2**20
"""Largest pickle of MiraBest, bytes; the official ones have 3.6 MB."""
MAXIMUM_BATCHES = 256 * 2**20
"""All of MiraBest's archive unpacked, bytes."""

MAXIMUM_TABLE = 2**30
"""Largest table of labels, positions or votes, bytes, decompressed."""
MAXIMUM_LINES = 5_000_000
"""Most lines of a table of text."""
MAXIMUM_ROWS = 20_000_000
"""Most rows of any other table."""
MAXIMUM_MANIFEST = 256 * 2**20
"""Largest manifest, bytes."""
MAXIMUM_YAML = 4 * 2**20
"""Largest file of settings, bytes."""
MAXIMUM_NODES = 10_000
"""Most values in a file of settings, an alias counts as often as what it stands for."""
MAXIMUM_DEPTH = 50
"""Most lists and mappings around a value in a file of settings."""

MAXIMUM_DIGITS = 18
"""Longest whole number of bytes in a manifest, digits."""
MAXIMUM_AHEAD = 86_400
"""How far after now the time of a label may lie, seconds."""
