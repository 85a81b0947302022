"""The ingress-nginx adapter: `annotations` and `rules` say what should be there, `views` what is, `router` writes."""

from activities.routers.ingress_nginx.router import IngressNginxRouter

__all__ = ["IngressNginxRouter"]
