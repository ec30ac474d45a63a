"""Names to components: the hooks, the discovery of plugins and the registry."""
