"""Messages of etcd API version 3."""
