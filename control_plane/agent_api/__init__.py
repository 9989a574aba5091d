"""The wire to the node agents; the only place that translates between domain and wire."""
