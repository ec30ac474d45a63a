"""Datasets of the Hugging Face hub, for plugins: files fetched once into the hub's cache, or streamed. Light."""

from .source import HubSource
from .stream import HubStream

__all__ = ["HubSource", "HubStream"]
