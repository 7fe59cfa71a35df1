"""The words in which the raylet's core talks: leases and how they end, commands, causes of death.

They are values without behaviour.

Imports: manta_common and manta_proto only.
"""
