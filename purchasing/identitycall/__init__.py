"""IdentityCall over HTTP: `Client` makes the calls, `errors` says how they fail, `resources` holds the answers.

It knows only the provider: no settings, no database, no policy. Codes such as VN-BUY, and the numbered contradictions,
are explained in docs/provider.md.
"""
