"""What the control plane says of itself to those who run it: readiness and metrics."""
