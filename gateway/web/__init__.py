"""The Tornado edge: carries bytes to and from OpenAI clients."""
