"""What a user's plan lets them do."""
