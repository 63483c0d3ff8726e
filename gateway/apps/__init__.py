"""The registry of Dify apps, one per configured key."""
