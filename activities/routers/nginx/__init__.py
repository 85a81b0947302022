"""nginx: one or several, moved by a generated include and a reload, or in running workers by a shared dict."""

from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.routers.nginx.reload import NginxRouter
from activities.routers.nginx.shared_dict import NginxDictRouter

__all__ = ["NginxConnection", "NginxDictRouter", "NginxHost", "NginxRouter"]
