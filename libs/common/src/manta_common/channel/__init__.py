"""Call channels: framing, the first bytes of a connection, and Unix-domain sockets that carry frames."""
