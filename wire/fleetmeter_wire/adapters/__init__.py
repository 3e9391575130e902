"""Adapters: one module a platform, bytes in, typed items or a typed refusal out."""
