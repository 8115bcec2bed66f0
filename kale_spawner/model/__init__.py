"""What is decided, apart from all that is done: no hub, no Kubernetes client, no clock."""
