"""The servers of this machine as a browser reaches them: who may ask, and on which address.

Belongs here: the guard in front of a server, and running a server behind it. Does not belong here: what is served
(`explorer`, `orchestration.webserver`).
"""
