"""The tea shop in Starlette."""
