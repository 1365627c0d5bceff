"""What stands between a connection and the application.

shortcut        answers some requests itself, before aiohttp; request_head reads them, host_header is a part of them
tls             TLS in little memory; certificate is what the server shows of itself
stalled         ends connections whose client takes nothing
proxies         the client's address, also when a proxy stands in front
"""
