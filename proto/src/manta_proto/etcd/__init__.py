"""etcd: the part of its public gRPC API that the store driver speaks."""
