"""How ``docs/`` becomes a site (``make docs``): plain Markdown, and here what is generated for it."""
