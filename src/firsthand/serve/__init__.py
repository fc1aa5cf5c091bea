"""Services: the shell that pages and services stand on, and an OpenAI-compatible server over any decoder.

Importing this package imports neither starlette nor uvicorn nor torch.
"""

from firsthand.serve.assets import page_routes
from firsthand.serve.completions import completions_app
from firsthand.serve.server import LiveServer, serve
from firsthand.serve.shell import ApiError, make_app, new_token

__all__ = ["ApiError", "LiveServer", "completions_app", "make_app", "new_token", "page_routes", "serve"]
