"""The worker processes of one node as the core sees them.

Their states, which kinds are kept idle, which job each serves. `worker_pool` decides when to start and to end one;
the processes themselves are started in `processes`.

Imports: kernel.
"""
