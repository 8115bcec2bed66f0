"""`make demo`: a hub on this machine in front of a real Kubernetes."""
