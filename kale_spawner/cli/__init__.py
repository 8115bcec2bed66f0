"""The command `kale-spawner`: volumes over the hub's REST API, and a check of the cluster."""
