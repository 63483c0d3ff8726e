"""A Dify Service API that needs no Dify: the tests' upstream, and a demo for people without keys."""
