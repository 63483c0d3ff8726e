"""OpenDify gateway: every Dify app answers any OpenAI client."""

__version__ = "0.1.0"
