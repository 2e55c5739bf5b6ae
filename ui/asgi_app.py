"""The server: the pages of app.py, and beside them the routes for pixels. Start with: streamlit run ui/asgi_app.py"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from ui import session
from ui.routes import SecurityHeaders, routes

app = st.App(
    Path(__file__).resolve().with_name("app.py"),
    routes=routes(session.open_head),
    middleware=[Middleware(SecurityHeaders)],
)
