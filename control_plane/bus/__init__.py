"""Live updates between the parts of the control plane; may lose everything without losing truth."""
