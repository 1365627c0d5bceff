"""Who asks, by which credentials, and how often they may.

authenticator       passwords, API tokens, registry tokens and the session cookie become an identity
credential_memory   those that were right a moment ago
own_tokens          which API tokens somebody may make
signed_tokens       tokens that this server has signed itself
backoff             the longer waits of those who guess passwords
rate_limits         how much one client may ask of the registry
csrf                changes that come from other sites
"""
