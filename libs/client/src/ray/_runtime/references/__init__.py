"""The distributed reference count: owner, borrower, lineage; a pure core.

`reference` has the protocol in prose.

Imports: the standard library and manta_common.
"""
