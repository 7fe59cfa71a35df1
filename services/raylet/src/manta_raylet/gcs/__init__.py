"""The raylet's stream to the GCS and its link to the object manager of the node.

Reports are gathered for some milliseconds, and sent anew after a change of leader.

Imports: everything below.
"""
