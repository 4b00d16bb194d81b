"""SHOWS: hosts and a router in network namespaces of its own, and the demo that roams in them."""
