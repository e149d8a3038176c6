import os

from django.core.asgi import get_asgi_application

from xr2_web.django import asgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = asgi(get_asgi_application())
