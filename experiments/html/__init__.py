"""Self-contained pages: a report of a comparison that works offline, on a phone, light and dark."""
