"""MOVES: batches of packets are segmented, sealed, opened and coalesced.

Pure functions over buffers. This room knows keys and counters; it does not know peers or sockets.
One Python call handles one 64 KB super-packet, never one packet.
"""
