"""What Prometheus may know of a node."""
