"""As for the integration tests: nothing of the user's cache is seen or changed. Only root comes here."""

from private_cache import cache

__all__ = ["cache"]
