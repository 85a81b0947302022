"""The hands: activities, each asking one port."""
