"""From a table of positions to images: cutouts of the sky from the services that make them, as deliveries.

    <raw>/<survey>/sky.yaml                     what is fetched: sky, size, pixels, format, table (`plan`)
    <raw>/<survey>/positions.parquet            every position with its id and the file of its image (`positions`)
    <raw>/<survey>/images/part_0001/            a delivery that is whole, with its `manifest.csv`
    <raw>/<survey>/images/.part_0002.partial/   one that is being fetched; no reader sees it
    <raw>/<survey>/.sky.jsonl                   one line per answer, written as it comes (`ledger`)
    <raw>/<survey>/ledger.parquet               what became of every position

`fetching.fetch_sky` does the work; the same call goes on where an earlier one was stopped.

Belongs here: skies, positions, requests, answers and the ledger. Does not belong here: official files of a survey
(`download`), what a survey of the images looks like (`onboarding`), what the command prints (`cli.survey`).
"""
