"""What one node has: the ledger of free and lent resources, and the bundles of placement groups cut out of it.

Amounts are fixed point, in 1/10,000 of a unit.

Imports: kernel.
"""
