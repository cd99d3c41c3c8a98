"""The fault campaign: what becomes of a survey when it is killed, its disk is full or its files are damaged.

Run by hand, `make campaign DATA=<folder> OUT=<file>.json`; see docs/faults.md. A module per section, and what they
share: `world` (a small real survey and the command over it), `compare` (two data folders, value by value), `state`
(what was found so far, so that a campaign goes on where it was stopped) and `page` (the figures as Markdown).

Belongs here: sections of the campaign. Does not belong here: tests of CI.
"""
