"""Structured concurrency over asyncio; the only place that creates tasks."""
