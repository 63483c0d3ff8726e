"""Dify's half: Turn → call, bytes of Dify's answer → answer events."""
