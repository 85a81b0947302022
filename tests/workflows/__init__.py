"""The real workflow and the real activities on a real server, in front of a router and metrics in memory."""
