"""The core of the GCS: joins the tables, and turns each event of a node into commands.

`loading` builds it from the store's records, `reconciliation` makes it agree with what nodes report.

Imports: the tables below; no request of a client, no clock, socket or store.
"""
