"""A classifier behind an address: a service and its page."""
