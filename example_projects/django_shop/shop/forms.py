from __future__ import annotations

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.password_validation import validate_password


class SignUpForm(forms.ModelForm):
    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        validators=[validate_password],
        help_text="At least 8 characters.",
    )

    class Meta:
        model = get_user_model()
        fields = ("username",)
        help_texts = {"username": ""}  # noqa: RUF012
        widgets = {"username": forms.TextInput(attrs={"autocomplete": "username"})}  # noqa: RUF012

    def save(self, commit: bool = True) -> AbstractBaseUser:
        self.instance.set_password(self.cleaned_data["password"])
        return super().save(commit)
