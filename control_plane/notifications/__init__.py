"""Mail to users: written down with its reason, sent by a job."""
