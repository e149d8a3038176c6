"""The commands with which an installation is looked after: ``xr2-web outbox``, ``manage.py xr2``, ``flask xr2``."""
