"""The farm's own certificate authority."""
