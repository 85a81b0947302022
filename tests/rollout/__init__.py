"""The pure core: no server, no clock, no network; every state an operator may meet at 3 a.m."""
