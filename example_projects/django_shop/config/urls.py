from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    # The example brings no web server that could serve these; a real shop would (or WhiteNoise).
    path("static/<path:path>", serve, {"insecure": True}),
    path("", include("shop.urls")),
]
