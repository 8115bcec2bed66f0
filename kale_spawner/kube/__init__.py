"""All talk to the API server."""
