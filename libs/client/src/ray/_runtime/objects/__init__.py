"""Objects by id.

Values that are here, reads that wait for others, references that were dropped, what the owner is asked. A get ends
here, at its owner's or in the arena.

Imports: loop, values, arena, transport, references and specs.
"""
