from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

app_name = "shop"
urlpatterns = [
    path("", views.home, name="home"),
    path("signup", views.sign_up, name="sign_up"),
    path("login", LoginView.as_view(template_name="shop/login.html"), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("products/<slug:slug>", views.product, name="product"),
    path("checkout", views.checkout, name="checkout"),
    path("thanks", views.thanks, name="thanks"),
]
