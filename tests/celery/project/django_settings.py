"""A Django project in which nothing but these settings says where xR2 is."""

from __future__ import annotations

import os

SECRET_KEY = "a key of the tests that is long enough for everyone"
USE_TZ = True
INSTALLED_APPS = ["xr2_web.django"]
XR2 = {"API_KEY": os.environ["SHOP_API_KEY"], "BASE_URL": os.environ["SHOP_XR2"]}
