"""How ``docs/`` becomes a site: ``make docs``. The pages are plain Markdown; what is here adds what is generated."""
