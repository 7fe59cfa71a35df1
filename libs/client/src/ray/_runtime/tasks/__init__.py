"""Tasks at their caller.

Submission, leases on workers, retries, cancelling, recovery of lost results, events for the state API.
`task_submitter` is the way of every plain task.

Imports: generators and everything below.
"""
