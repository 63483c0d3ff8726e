"""What a model thinks, told apart from what it says."""
