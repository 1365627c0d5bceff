"""Connections to BuildKit: HTTP/2 over an upgraded connection or a socket."""
