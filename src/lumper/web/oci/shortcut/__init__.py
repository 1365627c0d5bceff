"""Registry requests that are answered without aiohttp."""
