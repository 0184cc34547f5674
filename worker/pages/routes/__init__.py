"""The addresses of the pages: each reads the request, calls an operation and renders a template."""
