"""Configuration for gunicorn: gevent patches before anything else is imported.

The gevent worker does that after the fork; what ``--preload`` has imported by then is not patched. Django then fails
at every request that uses a database, with or without xr2_web.
"""

from gevent import monkey

monkey.patch_all()
