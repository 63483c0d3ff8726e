"""The middle: neutral vocabulary between OpenAI's half and Dify's half."""
