"""The zygote of a node: a process that has imported the client and forks workers on request."""
