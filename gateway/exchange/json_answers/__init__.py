"""Answers that are for a parser: bare JSON out of a text, checked against a schema."""
