"""What clients may ask of the core, one method for each request, and the queries of the state API.

A request is checked here; a refusal changes nothing.

Imports: the core and everything below.
"""
