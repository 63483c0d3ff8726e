"""What an app asks a person, shown and answered in a chat."""
