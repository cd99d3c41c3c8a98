"""Official downloads, from the addresses in `downloads.yaml` to the files that the readers expect.

What is not whole is hidden, and so is what is known about a file:

    .<name>.partial         what has arrived
    .<name>.partial.json    which file on the server that is (`Served`)
    .<name>.json            what is known about the whole file (`Record`)
    .<folder>.partial/      a zip that is being unpacked
    .fetch.lock             held by the process that works in this folder

Belongs here: resuming, checking and unpacking, and the room on disk these take; `fetching.fetch` does it all. Does not
belong here: reading what was fetched (`readers`) and what the command prints (`cli.fetch`).
"""
