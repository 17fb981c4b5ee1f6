"""IdentityCall over HTTP: `Client` asks, `errors` says what came of it, `resources` holds what was answered.

It knows the provider alone: no settings, no database, no policy. Codes such as VN-BUY, and the numbered contradictions,
are explained in docs/provider.md.
"""
