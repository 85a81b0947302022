"""AWS application load balancer: two weighted target groups in one rule of a listener.

`router` is the adapter; `split_rules`, `forced_rules`, `marks` and `views` are its pure half; `finding`, `health` and
`requests` ask AWS.
"""

from activities.routers.alb.router import AlbRouter

__all__ = ["AlbRouter"]
