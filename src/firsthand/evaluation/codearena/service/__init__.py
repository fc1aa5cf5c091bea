"""The arena over HTTP: the application, its gate and routes, webhooks, export and import."""
