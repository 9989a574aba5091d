"""Bodies of sign-up, sign-in and users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, EmailStr, Field, SecretStr, StringConstraints

Password = Annotated[SecretStr, Field(min_length=8, max_length=200)]


class SignUp(BaseModel):
    email: EmailStr
    password: Password
    display_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class SignIn(BaseModel):
    email: EmailStr
    password: Annotated[SecretStr, Field(max_length=200)]


class UserOut(BaseModel):
    id: str
    email: str
    display_name: str
    role: str
    tenant_id: str
    created_at: datetime
