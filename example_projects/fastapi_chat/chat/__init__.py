"""A tea adviser to chat with, in FastAPI."""
