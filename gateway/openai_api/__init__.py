"""OpenAI's half: request JSON → Turn, answer events → chunks or one document."""
