"""Decisions about load and time; the caller brings the clock and the random numbers."""
